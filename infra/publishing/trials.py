"""Releases on trial: signed beside a target's pointer, measured by its devices in turns with what they run.

targets/<target>/<sha256>.trials.json     which releases, against which one, until when
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

from tuf.api.metadata import TargetFile, Targets

from infra.device.documents.checks import time_text
from infra.device.documents.manifest import manifest_path
from infra.device.documents.pointer import pointer_path
from infra.device.documents.trials import TrialRelease, Trials, trials_path
from infra.device.errors import ConflictError, NotStoredError
from infra.device.releases import parse_pointer, parse_trials
from infra.publishing.releases import read_manifest_for, verify_files
from infra.publishing.repository import Publisher
from infra.publishing.stops import DAMAGED


def publish_trials(
    publisher: Publisher, target: str, release_ids: Sequence[str], against: str, decide_by: datetime
) -> Trials:
    """Has a target's devices measure releases, once all their bytes are read and verified.

    What was on trial before is not any more. Where it is the same, it stays with the time by which it is decided: else
    a night that finds nothing new would put that off, night for night.

    Args:
        publisher: of the store.
        target: whose devices measure.
        release_ids: 1 to 8, each once, in the order in which they are measured.
        against: the release that the target runs, as the caller has seen.
        decide_by: when it is decided without the devices that have not reported, UTC.

    Raises:
        NotStoredError: there is no such release, a file of it is missing, or somebody retired it in the meantime.
        ContractError: a release has nothing for this target or a malformed manifest; too many releases, or `against`
            among them.
        DigestMismatchError: a file is not what the manifest says.
        ConflictError: somebody moved the pointer in the meantime.
    """
    known = _readable(publisher, target)
    if known is not None and (known.release_ids, known.against) == (tuple(release_ids), against):
        return known
    releases = []
    for release_id in release_ids:
        data, manifest = read_manifest_for(publisher, target, release_id)
        verify_files(publisher.store, manifest, release_id)
        releases.append(TrialRelease(release_id, hashlib.sha256(data).hexdigest()))
    trials = Trials(target, tuple(releases), against, time_text(decide_by.astimezone(UTC)))
    signed = publisher.put(trials_path(target), trials.to_json())

    def edit(targets: Targets) -> bool:
        pointer = targets.targets.get(pointer_path(target))
        running = None if pointer is None else parse_pointer(publisher.content(pointer), target).release_id
        if running != against:
            raise ConflictError(
                f"pointer of target {target!r}: leads to {running} by now, wanted {against}; look again"
            )
        for release_id in release_ids:
            if manifest_path(release_id) not in targets.targets:
                raise NotStoredError(f"release {release_id} in {publisher.store.url}: somebody retired it")
        targets.targets[signed.path] = signed
        return True

    publisher.change(edit)
    return trials


def _readable(publisher: Publisher, target: str) -> Trials | None:
    """What is on trial for a target; None where nothing is, or it is damaged."""
    signed = signed_trials(publisher).get(target)
    try:
        return None if signed is None else trials_in(publisher, signed)
    except DAMAGED:
        return None


def end_trials(publisher: Publisher, target: str, seen: TargetFile) -> None:
    """Ends what is on trial for a target; where that has ended already, nothing changes.

    Args:
        publisher: of the store.
        target: whose devices have measured.
        seen: what was signed when the caller decided; also what is damaged.

    Raises:
        ConflictError: something else is on trial by now.
    """
    path = trials_path(target)

    def edit(targets: Targets) -> bool:
        if targets.targets.get(path) not in (None, seen):
            raise ConflictError(f"trials of target {target!r}: somebody published others; look again")
        return targets.targets.pop(path, None) is not None

    publisher.change(edit)


def signed_trials(publisher: Publisher) -> dict[str, TargetFile]:
    """What is signed of the trials of every target that has some."""
    publisher.refresh()
    return _signed_among(publisher.targets())


def trials_in(publisher: Publisher, signed: TargetFile) -> Trials:
    """What is signed, read; raises NotStoredError, DigestMismatchError and ContractError where it is damaged."""
    return parse_trials(publisher.content(signed), signed.path.split("/")[1])


def trials_among(publisher: Publisher, targets: Targets) -> dict[str, Trials]:
    """Of what is signed, the trials of every target.

    Raises:
        ConflictError: some are damaged.
    """
    found = {}
    for target, signed in _signed_among(targets).items():
        try:
            found[target] = trials_in(publisher, signed)
        except DAMAGED as error:
            raise ConflictError(
                f"{signed.path} is damaged, so nobody can say what is on trial: the flow decide ends it: {error}"
            ) from error
    return found


def _signed_among(targets: Targets) -> dict[str, TargetFile]:
    names = {path: path.split("/") for path in sorted(targets.targets)}
    return {
        parts[1]: targets.targets[path]
        for path, parts in names.items()
        if parts[0] == "targets" and parts[2:] == ["trials.json"]
    }
