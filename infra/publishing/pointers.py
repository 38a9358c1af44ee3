"""What targets run, and single devices that are pinned to a release: a pointer for one device alone.

targets/<target>/<sha256>.current.json          of a target's devices
targets/<target>/pins/<sha256>.<device>.json    of one device

Beside them lies what is on trial for a target (`infra.publishing.trials`), which leads no device.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator

from tuf.api.metadata import TargetFile, Targets

from infra.device.documents.manifest import manifest_path
from infra.device.documents.pointer import Pointer, pin_path, pointer_path
from infra.device.errors import ConflictError, NotStoredError
from infra.device.releases import parse_pointer
from infra.publishing.releases import read_manifest_for, verify_files
from infra.publishing.repository import Publisher
from infra.publishing.stops import DAMAGED

_log = logging.getLogger(__name__)


def current_of(publisher: Publisher, target: str) -> Pointer | None:
    """The pointer of a target; None where nothing was promoted."""
    signed = publisher.signed(pointer_path(target))
    return None if signed is None else parse_pointer(publisher.content(signed), target)


def pointers(publisher: Publisher) -> dict[str, Pointer]:
    """The pointer of every target that runs a release.

    Raises:
        ConflictError: one is damaged.
    """
    publisher.refresh()
    return pointers_among(publisher, publisher.targets())


def rollouts(publisher: Publisher) -> list[Pointer]:
    """The pointers whose release only a share of the devices runs; a damaged one is left out, and named in the log."""
    publisher.refresh()
    found = []
    for path, signed, target, device in _signed_pointers(publisher.targets()):
        try:
            pointer = parse_pointer(publisher.content(signed), target)
        except DAMAGED as error:
            _log.warning("%s is left out: %s", path, error)
            continue
        if device is None and pointer.share < 1:
            found.append(pointer)
    return found


def pinned_devices(publisher: Publisher, target: str) -> set[str]:
    """The devices that do not run what their target runs."""
    return {
        device
        for _, _, of_target, device in _signed_pointers(publisher.targets())
        if of_target == target and device is not None
    }


def pins(publisher: Publisher) -> dict[tuple[str, str], Pointer]:
    """The pointer of every device that is pinned, by target and device.

    Raises:
        ConflictError: one is damaged.
    """
    publisher.refresh()
    return pins_among(publisher, publisher.targets())


def pin(publisher: Publisher, target: str, device: str, release_id: str) -> Pointer:
    """Has one device run a release, whatever its target runs, once all its bytes are read and verified.

    Raises:
        NotStoredError: there is no such release, or a file of it is missing.
        ContractError: the release has nothing for this target, its manifest is malformed, or `device` is no name.
        DigestMismatchError: a file is not what the manifest says.
        ConflictError: somebody else pinned or unpinned the device in the meantime.
    """
    path = pin_path(target, device)
    data, manifest = read_manifest_for(publisher, target, release_id)
    seen = publisher.signed(path)
    verify_files(publisher.store, manifest, release_id)
    wanted = Pointer(target, release_id, hashlib.sha256(data).hexdigest())
    signed = publisher.put(path, wanted.to_json())

    def edit(targets: Targets) -> bool:
        if targets.targets.get(path) != seen:
            raise ConflictError(f"device {device!r} on target {target!r}: somebody pinned or unpinned it; look again")
        if manifest_path(release_id) not in targets.targets:
            raise NotStoredError(f"release {release_id} in {publisher.store.url}: somebody retired it")
        targets.targets[path] = signed
        return True

    publisher.change(edit)
    return wanted


def unpin(publisher: Publisher, target: str, device: str) -> None:
    """Has a device run what its target runs again; a damaged pin goes as well.

    Raises:
        NotStoredError: it is not pinned.
        ContractError: `device` is no name.
    """
    path = pin_path(target, device)
    if publisher.signed(path) is None:
        raise NotStoredError(f"device {device!r} on target {target!r}: is not pinned in {publisher.store.url}")
    publisher.change(lambda targets: targets.targets.pop(path, None) is not None)


def pointers_among(publisher: Publisher, targets: Targets) -> dict[str, Pointer]:
    """Of what is signed, the pointer of every target; raises what `pointers` raises."""
    return {
        target: _intact(publisher, path, signed, target, "promote a release for it first")
        for path, signed, target, device in _signed_pointers(targets)
        if device is None
    }


def pins_among(publisher: Publisher, targets: Targets) -> dict[tuple[str, str], Pointer]:
    """Of what is signed, the pointer of every pinned device; raises what `pins` raises."""
    return {
        (target, device): _intact(publisher, path, signed, target, "unpin it first")
        for path, signed, target, device in _signed_pointers(targets)
        if device is not None
    }


def _signed_pointers(targets: Targets) -> Iterator[tuple[str, TargetFile, str, str | None]]:
    """Name, what is signed, target, and the device where it is a pin."""
    for path, signed in sorted(targets.targets.items()):
        folder, _, rest = path.partition("/")
        target, _, name = rest.partition("/")
        if folder == "targets" and name != "trials.json":
            device = None if name == "current.json" else name.removeprefix("pins/").removesuffix(".json")
            yield path, signed, target, device


def _intact(publisher: Publisher, path: str, signed: TargetFile, target: str, remedy: str) -> Pointer:
    try:
        return parse_pointer(publisher.content(signed), target)
    except DAMAGED as error:
        raise ConflictError(
            f"pointer {path} is damaged, so nobody can say what is needed: {remedy}: {error}"
        ) from error
