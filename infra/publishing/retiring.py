"""The end of a release: retired when nothing needs it, swept when its publication was killed."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from tuf.api.metadata import Targets

from infra.device.documents.checks import check_release_id
from infra.device.documents.manifest import manifest_path
from infra.device.errors import ConflictError, NotStoredError
from infra.device.stores.object_store import ObjectStore
from infra.publishing.marks import AWAITED, PUBLISHING, is_awaited, mark_publishing, marked, publishing_for, unmark
from infra.publishing.pointers import pins_among, pointers_among
from infra.publishing.releases import published
from infra.publishing.repository import Publisher
from infra.publishing.trials import trials_among

ABANDONED_AFTER = timedelta(days=1)
"""A publication that began longer ago, and is not signed, was killed."""


def retire(publisher: Publisher, release_id: str) -> None:
    """Takes a release from the list, then removes its files.

    Raises:
        NotStoredError: there is no such release.
        ConflictError: a target runs it, or ran it before, or it is on trial, or reports on it are awaited.
    """
    path = manifest_path(release_id)
    if publisher.signed(path) is None:
        raise NotStoredError(f"release {release_id} in {publisher.store.url}: no such release")
    if needed := _needed(publisher, publisher.targets()).get(release_id):
        raise ConflictError(f"release {release_id} is kept: {needed}")

    def edit(targets: Targets) -> bool:
        if needed := _needed(publisher, targets).get(release_id):
            raise ConflictError(f"release {release_id} is kept: {needed}")
        return targets.targets.pop(path, None) is not None

    mark_publishing(
        publisher.store, release_id, is_abandoned=True
    )  # whoever is killed from here on leaves the rest to `sweep`
    publisher.change(edit)
    _remove_files(publisher.store, release_id)
    unmark(publisher.store, PUBLISHING, release_id)


def retain(publisher: Publisher, last: int) -> list[str]:
    """Retires releases beyond the `last` newest ones that nothing needs, and returns them.

    Raises:
        ConflictError: a pointer, a pin or what is on trial is damaged, so that nobody can say what is needed.
    """
    publisher.refresh()
    _needed(publisher, publisher.targets())
    releases = sorted(published(publisher), key=lambda one: one[1].created_at, reverse=True)
    retired = []
    for release_id, _ in releases[last:]:
        with suppress(ConflictError, NotStoredError):  # it is needed, or somebody was faster
            retire(publisher, release_id)
            retired.append(release_id)
    return retired


def sweep(publisher: Publisher) -> list[str]:
    """Removes what killed publications and retirements have left, and returns the releases."""
    publisher.sweep()
    store, swept = publisher.store, []
    for release_id in marked(store, PUBLISHING):
        if publisher.signed(manifest_path(release_id)) is None:
            if publishing_for(store, release_id) < ABANDONED_AFTER:
                continue
            _remove_files(store, release_id)
            swept.append(release_id)
        unmark(store, PUBLISHING, release_id)
    for release_id in marked(store, AWAITED):
        if not is_awaited(store, release_id):
            unmark(store, AWAITED, release_id)
    return swept


def _needed(publisher: Publisher, targets: Targets) -> dict[str, str]:
    """Releases that must stay, and why."""
    needed: dict[str, str] = {}
    for target, pointer in pointers_among(publisher, targets).items():
        if pointer.replaces is not None:
            says = (
                "ran it before, and may be rolled back to it"
                if pointer.share == 1
                else "runs it where its rollout is not"
            )
            needed.setdefault(pointer.replaces, f"target {target} {says}")
        needed[pointer.release_id] = f"target {target} runs it"
    for (target, device), pointer in pins_among(publisher, targets).items():
        needed.setdefault(pointer.release_id, f"device {device} is pinned to it on target {target}")
    for target, trials in trials_among(publisher, targets).items():
        for release_id in trials.release_ids:
            needed.setdefault(release_id, f"it is on trial for target {target}")
    for release_id in marked(publisher.store, AWAITED):
        if is_awaited(publisher.store, release_id):
            needed.setdefault(release_id, "reports on it are awaited")
    return needed


def _remove_files(store: ObjectStore, release_id: str) -> None:
    for key in store.list(f"releases/{check_release_id('release_id', release_id)}/"):
        store.delete(key)
