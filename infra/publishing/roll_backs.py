"""How a release is taken back: a target goes back to the one before, and a rollout that is under way is stopped."""

from __future__ import annotations

import hashlib

from infra.device.documents.manifest import manifest_path
from infra.device.documents.pointer import Pointer, pointer_path
from infra.device.errors import ConflictError, NotStoredError
from infra.device.releases import parse_pointer
from infra.publishing.pointers import current_of
from infra.publishing.releases import manifest_of, move_pointer, promote
from infra.publishing.repository import Publisher
from infra.publishing.stops import DAMAGED, Stop, networks_sha256, stop_path


def roll_back(publisher: Publisher, target: str) -> Pointer:
    """Makes the release that a target ran before the one that it runs, or that most of its devices still run.

    Raises:
        NotStoredError: it runs none, or the pointer knows no earlier one.
        ConflictError, ContractError, DigestMismatchError: as `promote`.
    """
    return go_back(publisher, target, *before_of(publisher, target))


def go_back(publisher: Publisher, target: str, current: str, before: str) -> Pointer:
    """Like `roll_back`, between two releases that the caller has seen; asked again, it changes nothing.

    A rollout that is under way is stopped: no later run promotes the release by itself.
    """
    pointer = current_of(publisher, target)
    if pointer is not None and pointer.release_id == current and pointer.share < 1:
        return stop(publisher, target, current, "rolled back before all devices had it", "a person")
    return promote(publisher, target, before, instead_of=current)


def before_of(publisher: Publisher, target: str) -> tuple[str, str]:
    """The release that a target runs, and the one that it ran before.

    Raises:
        NotStoredError: it runs none, or the pointer knows no earlier one.
    """
    current = current_of(publisher, target)
    if current is None or current.replaces is None:
        what = "runs no release" if current is None else f"runs {current.release_id}, and knows none before"
        raise NotStoredError(f"target {target!r} in {publisher.store.url}: {what}")
    return current.release_id, current.replaces


def stop(publisher: Publisher, target: str, release_id: str, reason: str, by: str) -> Pointer:
    """Gives all devices of a target the release before, and keeps later runs from promoting this one by themselves.

    The release before is not read again: most devices run it. The pointer then knows no release before it, so no
    roll-back leads to what was stopped.

    Args:
        publisher: of the store.
        target: whose pointer moves.
        release_id: whose rollout is under way.
        reason: in words.
        by: who stops it.

    Raises:
        ConflictError: no rollout of this release is under way here, or somebody moved the pointer in the meantime.
        NotStoredError, DigestMismatchError, ContractError: pointer, or manifest of the release before, are damaged.
    """
    seen = publisher.signed(pointer_path(target))
    current = None if seen is None else parse_pointer(publisher.content(seen), target)
    if current is None or current.release_id != release_id or current.share == 1 or current.replaces is None:
        raise ConflictError(f"target {target!r} in {publisher.store.url}: no rollout of release {release_id} under way")
    manifest_sha256 = hashlib.sha256(publisher.read(manifest_path(current.replaces))).hexdigest()
    try:
        networks = networks_sha256(manifest_of(publisher, release_id), target)
    except DAMAGED:
        networks = None
    stopped = Stop(target, release_id, current.replaces, networks, reason, by)
    signed = publisher.put(stop_path(target, release_id), stopped.to_json())
    wanted = Pointer(target, current.replaces, manifest_sha256)
    move_pointer(
        *(publisher, wanted, seen, release_id, [current.replaces]),
        lambda targets: targets.targets.update({signed.path: signed}),
    )
    return wanted
