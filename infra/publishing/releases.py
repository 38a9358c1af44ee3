"""How a release comes to devices: published, and promoted on all devices of a target or on a share of them.

It is signed here as well when it was made unsigned. Files are written first, then manifest and pointer, and then what
is signed is changed at once (`Publisher.change`). `pointers` pins single devices, `roll_backs` takes a release back,
`retiring` ends it.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tuf.api.metadata import TargetFile, Targets

from infra.device.documents.manifest import Manifest, manifest_path, release_file_key, release_id_of
from infra.device.documents.pointer import Pointer, pointer_path
from infra.device.errors import ConflictError, ContractError, NotStoredError
from infra.device.releases import fetch_file, parse_manifest, parse_pointer
from infra.device.stores.checks import check_size
from infra.device.stores.object_store import ObjectStore
from infra.publishing.marks import PUBLISHING, mark_publishing, unmark
from infra.publishing.repository import Publisher, stored_key
from infra.publishing.stops import DAMAGED, stops_of

_log = logging.getLogger(__name__)

NOTHING = ""
"""What a target runs before its first release."""


def publish_release(publisher: Publisher, manifest: Manifest, sources: Mapping[str, str]) -> str:
    """Stores and signs a release and returns its release_id; doing it again changes nothing.

    Args:
        publisher: of the store.
        manifest: what the release is.
        sources: path in the release -> key of the object that it is copied from; exactly the paths of
            `manifest.files`.

    Raises:
        NotStoredError: a source is not in the store.
        ContractError: other paths than the manifest's, a manifest that no reader would take, or a source or a file
            stored earlier that is larger than it says.
        DigestMismatchError: a source, or a file stored earlier under the same key, is not what the manifest says.
        UntrustedError: what the store holds is not signed by the publisher's keys.
    """
    if set(sources) != set(manifest.files):
        raise ContractError(f"files of a release: got {sorted(sources)}, wanted {sorted(manifest.files)}")
    check_size("manifest", len(manifest.to_json()), Manifest.max_bytes)
    release_id, store = release_id_of(manifest), publisher.store
    if publisher.signed(manifest_path(release_id)) is None:
        mark_publishing(store, release_id)
    for path, digest in manifest.files.items():
        key = release_file_key(release_id, path)
        try:
            store.copy(sources[path], key, digest, if_absent=True)
        except ConflictError:
            digest.check(path, store.digest(key, max_bytes=digest.size_bytes))
    _sign(publisher, manifest)
    if gone := [path for path in manifest.files if not store.exists(release_file_key(release_id, path))]:
        raise ConflictError(f"release {release_id} in {store.url}: somebody removed {gone}; publish it again")
    return release_id


def import_release(publisher: Publisher, release_id: str) -> str:
    """Signs a release that was published before releases were signed, when all its bytes are what its manifest says.

    Raises:
        NotStoredError: there is no unsigned release of this name, or a file of it is missing.
        DigestMismatchError, ContractError: manifest or file are damaged.
    """
    data = publisher.store.get(manifest_path(release_id), max_bytes=Manifest.max_bytes)
    manifest = parse_manifest(data, release_id)
    verify_files(publisher.store, manifest, release_id)
    return _sign(publisher, manifest)


def promote(
    publisher: Publisher,
    target: str,
    release_id: str,
    *,
    instead_of: str | None = None,
    seen_at: str | None = None,
    share: float = 1.0,
    is_forced: bool = False,
) -> Pointer:
    """Makes a release the one that a target runs, once all its bytes are read and verified.

    Where another release is on its way to all devices, that one is dropped: devices without the new one run what they
    ran before both.

    Args:
        publisher: of the store.
        target: whose pointer moves.
        release_id: that it will lead to; where it leads there already, only the share moves.
        instead_of: the release_id that it leads to now, as the caller has seen, or NOTHING; None where that does not
            matter.
        seen_at: `moved_at` of the pointer that the caller has decided by; None where that does not matter.
        share: of the target's devices, in (0, 1]; the others run the release before.
        is_forced: also where a rollout of the release was stopped, which is forgotten then.

    Raises:
        NotStoredError: there is no such release, or a file of it is missing.
        ContractError: the release has nothing for this target, manifest or pointer are malformed, or `share` leaves
            devices without a release.
        DigestMismatchError: a file is not what the manifest says.
        ConflictError: somebody else moved the pointer in the meantime; look again before you move it. Or the release
            was stopped.
    """
    data, manifest = read_manifest_for(publisher, target, release_id)
    seen = publisher.signed(pointer_path(target))
    current = _readable(publisher, target, seen)
    before = None if current is None else _without(current, release_id)
    if share < 1 and before is None:
        raise ContractError(
            f"release {release_id} on target {target!r}: got a share of {share:g}, wanted 1: there is no other release "
            "for the rest of its devices"
        )
    wanted = Pointer(target, release_id, hashlib.sha256(data).hexdigest(), before, share)
    if current is not None and current.leads_where(wanted) and current.share == share:
        return current  # also where this is asked again, since the answer was lost
    running = NOTHING if current is None else current.release_id
    if seen_at is not None and (current is None or current.moved_at != seen_at):
        when = "nowhere" if current is None else f"was moved at {current.moved_at}"
        raise ConflictError(f"pointer of target {target!r}: {when}, wanted the one of {seen_at}")
    if instead_of not in (None, running):
        raise ConflictError(f"pointer of target {target!r}: leads to {running or 'none'} by now, wanted {instead_of}")
    stops = stops_of(publisher, target, release_id, manifest)
    if stops and not is_forced and running != release_id:
        raise ConflictError(f"release {release_id} on target {target!r}: {next(iter(stops.values()))}")
    verify_files(publisher.store, manifest, release_id)
    needed = [release_id] if before is None or share == 1 else [release_id, before]

    def forget(targets: Targets) -> None:
        for path in stops:
            targets.targets.pop(path, None)

    move_pointer(publisher, wanted, seen, running, needed, forget)
    return wanted


def move_pointer(
    publisher: Publisher,
    wanted: Pointer,
    seen: TargetFile | None,
    running: str,
    needed: Sequence[str],
    also: Callable[[Targets], object],
) -> None:
    """Signs a pointer in the place of the one that was seen, in one write.

    Args:
        publisher: of the store.
        wanted: the pointer.
        seen: what was signed under its name when `wanted` was decided.
        running: the release that it led to.
        needed: releases that must be signed still.
        also: changes what is signed together with it.

    Raises:
        ConflictError: somebody else moved the pointer in the meantime.
        NotStoredError: somebody retired what is needed.
    """
    pointer = publisher.put(pointer_path(wanted.target), wanted.to_json())

    def edit(targets: Targets) -> bool:
        if targets.targets.get(pointer.path) != seen:
            raise ConflictError(
                f"pointer of target {wanted.target!r}: somebody moved it from {running or None}; look again"
            )
        for release_id in needed:
            if manifest_path(release_id) not in targets.targets:
                raise NotStoredError(f"release {release_id} in {publisher.store.url}: somebody retired it")
        targets.targets[pointer.path] = pointer
        also(targets)
        return True

    publisher.change(edit)


def _readable(publisher: Publisher, target: str, seen: TargetFile | None) -> Pointer | None:
    """The pointer; None where there is none, or it is damaged: that one gives way."""
    try:
        return None if seen is None else parse_pointer(publisher.content(seen), target)
    except DAMAGED:
        return None


def _without(current: Pointer, release_id: str) -> str | None:
    """What devices run that do not get a release; None: no other release is known."""
    is_first_choice = current.share == 1 and current.release_id != release_id
    before = current.release_id if is_first_choice else current.replaces
    return None if before == release_id else before


def manifest_of(publisher: Publisher, release_id: str) -> Manifest:
    """The manifest of a release.

    Raises:
        NotStoredError: there is no such release.
        DigestMismatchError, ContractError: it is damaged.
    """
    return parse_manifest(publisher.read(manifest_path(release_id)), release_id)


def published(publisher: Publisher) -> list[tuple[str, Manifest]]:
    """Every signed release, by its id; one whose manifest is damaged is left out, and named in the log."""
    publisher.refresh()
    found = []
    for path, signed in sorted(publisher.targets().targets.items()):
        if path.startswith("releases/"):
            release_id = path.split("/")[1]
            try:
                found.append((release_id, parse_manifest(publisher.content(signed), release_id)))
            except DAMAGED as error:
                _log.warning("release %s is left out: %s", release_id, error)
    return found


def read_manifest_for(publisher: Publisher, target: str, release_id: str) -> tuple[bytes, Manifest]:
    """The manifest of a release that has files for a target, as bytes and as what they say.

    Raises:
        NotStoredError: there is no such release.
        ContractError: it has nothing for this target, or is malformed.
        DigestMismatchError: it is damaged.
    """
    data = publisher.read(manifest_path(release_id))
    manifest = parse_manifest(data, release_id)
    if target not in manifest.targets:
        raise ContractError(f"release {release_id}: no files for target {target!r}, it has {sorted(manifest.targets)}")
    return data, manifest


def verify_files(store: ObjectStore, manifest: Manifest, release_id: str) -> None:
    """Reads every byte: what a server says of an object's digest is what it was once given.

    Raises:
        NotStoredError: a file is missing.
        DigestMismatchError, ContractError: it is not what the manifest says.
    """
    with tempfile.TemporaryDirectory() as scratch:
        for path, digest in manifest.files.items():
            local = Path(scratch, "file")
            fetch_file(store, release_id, path, digest, local)
            local.unlink()


def _sign(publisher: Publisher, manifest: Manifest) -> str:
    release_id = release_id_of(manifest)
    path, before = manifest_path(release_id), publisher.signed(manifest_path(release_id))
    if before is None or not publisher.store.exists(stored_key(before)):
        signed = publisher.put(path, manifest.to_json())

        def edit(targets: Targets) -> bool:
            if targets.targets.get(path) != before:  # somebody else has signed the same
                return False
            targets.targets[path] = signed
            return True

        publisher.change(edit)
    unmark(publisher.store, PUBLISHING, release_id)
    return release_id
