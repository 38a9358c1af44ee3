"""The life of a release: published, promoted, rolled back, retired, swept; and signed when it was made unsigned.

Files are written first, then manifest and pointer, and then what is signed is changed at once (`Publisher.change`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tuf.api.metadata import Targets

from infra.device.documents.checks import check_release_id, check_time, utc_now
from infra.device.documents.manifest import Manifest, manifest_path, release_file_key, release_id_of
from infra.device.documents.pointer import Pointer, pointer_path
from infra.device.errors import ConflictError, ContractError, DigestMismatchError, NotStoredError
from infra.device.releases import fetch_file, parse_manifest, parse_pointer
from infra.device.stores.checks import check_size
from infra.device.stores.object_store import ObjectStore
from infra.publishing.repository import Publisher, stored_key

ABANDONED_AFTER = timedelta(days=1)
"""A publication that began longer ago, and is not signed, was killed."""
_DAMAGED = (NotStoredError, DigestMismatchError, ContractError)
_log = logging.getLogger(__name__)

NOTHING = ""
"""What a target runs before its first release."""
_MAX_MARK_BYTES = 1000
_LONG_AGO = b"19700101T000000.000000Z"


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
        store.put(_mark_key("publishing", release_id), utc_now().encode())
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
    _verify_files(publisher.store, manifest, release_id)
    return _sign(publisher, manifest)


def promote(publisher: Publisher, target: str, release_id: str, *, instead_of: str | None = None) -> Pointer:
    """Makes a release the one that a target runs, once all its bytes are read and verified.

    Args:
        publisher: of the store.
        target: whose pointer moves.
        release_id: that it will lead to; where it leads there already, it is left as it is.
        instead_of: the release_id that it leads to now, as the caller has seen, or NOTHING; None where that does not
            matter.

    Raises:
        NotStoredError: there is no such release, or a file of it is missing.
        ContractError: the release has nothing for this target, or manifest or pointer are malformed.
        DigestMismatchError: a file is not what the manifest says.
        ConflictError: somebody else moved the pointer in the meantime; look again before you move it.
    """
    data = publisher.read(manifest_path(release_id))
    manifest = parse_manifest(data, release_id)
    if target not in manifest.targets:
        raise ContractError(f"release {release_id}: no files for target {target!r}, it has {sorted(manifest.targets)}")
    seen = publisher.signed(pointer_path(target))
    try:
        current = None if seen is None else parse_pointer(publisher.content(seen), target)
    except (NotStoredError, DigestMismatchError, ContractError):
        current = None  # a pointer that is damaged gives way
    wanted = Pointer(
        target=target,
        release_id=release_id,
        manifest_sha256=hashlib.sha256(data).hexdigest(),
        replaces=None if current is None else current.release_id,
    )
    if current is not None and current.leads_where(wanted):
        return current  # also where this is asked again, since the answer was lost
    running = NOTHING if current is None else current.release_id
    if instead_of not in (None, running):
        raise ConflictError(f"pointer of target {target!r}: leads to {running or 'none'} by now, wanted {instead_of}")
    _verify_files(publisher.store, manifest, release_id)
    pointer = publisher.put(pointer_path(target), wanted.to_json())

    def edit(targets: Targets) -> bool:
        if targets.targets.get(pointer.path) != seen:
            raise ConflictError(f"pointer of target {target!r}: somebody moved it from {wanted.replaces}; look again")
        if manifest_path(release_id) not in targets.targets:
            raise NotStoredError(f"release {release_id} in {publisher.store.url}: somebody retired it")
        targets.targets[pointer.path] = pointer
        return True

    publisher.change(edit)
    return wanted


def roll_back(publisher: Publisher, target: str) -> Pointer:
    """Makes the release that a target ran before the one that it runs.

    Raises:
        NotStoredError: it runs none, or the pointer knows no earlier one.
        ConflictError, ContractError, DigestMismatchError: as `promote`.
    """
    current, before = before_of(publisher, target)
    return promote(publisher, target, before, instead_of=current)


def before_of(publisher: Publisher, target: str) -> tuple[str, str]:
    """The release that a target runs, and the one that it ran before.

    Raises:
        NotStoredError: it runs none, or the pointer knows no earlier one.
    """
    current = current_of(publisher, target)
    if current is None or current.replaces is None:
        what = "runs no release" if current is None else f"runs {current.release_id}, the first that it was given"
        raise NotStoredError(f"target {target!r} in {publisher.store.url}: {what}")
    return current.release_id, current.replaces


def manifest_of(publisher: Publisher, release_id: str) -> Manifest:
    """The manifest of a release.

    Raises:
        NotStoredError: there is no such release.
        DigestMismatchError, ContractError: it is damaged.
    """
    return parse_manifest(publisher.read(manifest_path(release_id)), release_id)


def current_of(publisher: Publisher, target: str) -> Pointer | None:
    """The pointer of a target; None where nothing was promoted."""
    signed = publisher.signed(pointer_path(target))
    return None if signed is None else parse_pointer(publisher.content(signed), target)


def retire(publisher: Publisher, release_id: str) -> None:
    """Takes a release from the list, then removes its files.

    Raises:
        NotStoredError: there is no such release.
        ConflictError: a target runs it, or ran it before, or reports on it are awaited.
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

    mark = _mark_key("publishing", release_id)
    publisher.store.put(mark, _LONG_AGO)  # whoever is killed from here on leaves the rest to `sweep`
    publisher.change(edit)
    _remove_files(publisher.store, release_id)
    publisher.store.delete(mark)


def retain(publisher: Publisher, last: int) -> list[str]:
    """Retires releases beyond the `last` newest ones that nothing needs, and returns them."""
    releases = sorted(published(publisher), key=lambda one: one[1].created_at, reverse=True)
    retired = []
    for release_id, _ in releases[last:]:
        with suppress(ConflictError, NotStoredError):  # it is needed, or somebody was faster
            retire(publisher, release_id)
            retired.append(release_id)
    return retired


def published(publisher: Publisher) -> list[tuple[str, Manifest]]:
    """Every signed release, by its id; one whose manifest is damaged is left out, and named in the log."""
    publisher.refresh()
    found = []
    for path, signed in sorted(publisher.targets().targets.items()):
        if path.startswith("releases/"):
            release_id = path.split("/")[1]
            try:
                found.append((release_id, parse_manifest(publisher.content(signed), release_id)))
            except _DAMAGED as error:
                _log.warning("release %s is left out: %s", release_id, error)
    return found


def pointers(publisher: Publisher) -> dict[str, Pointer]:
    """The pointer of every target that runs a release.

    Raises:
        ConflictError: one is damaged.
    """
    publisher.refresh()
    return _pointers(publisher, publisher.targets())


def sweep(publisher: Publisher) -> list[str]:
    """Removes what killed publications and retirements have left, and returns the releases."""
    publisher.sweep()
    store, swept = publisher.store, []
    for key in store.list("publishing/"):
        release_id = key.removeprefix("publishing/").removesuffix(".json")
        if publisher.signed(manifest_path(release_id)) is None:
            if _age(store, key) < ABANDONED_AFTER:
                continue
            _remove_files(store, release_id)
            swept.append(release_id)
        store.delete(key)
    for key in store.list("awaited/"):
        if _until(store, key) <= datetime.now(UTC).timestamp():
            store.delete(key)
    return swept


def await_reports(store: ObjectStore, release_id: str, until: datetime) -> None:
    """Keeps a release at least until then, since somebody waits for reports on it."""
    key = _mark_key("awaited", release_id)
    store.put(key, json.dumps({"until": max(until.timestamp(), _until(store, key))}).encode())


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
    publisher.store.delete(_mark_key("publishing", release_id))
    return release_id


def _verify_files(store: ObjectStore, manifest: Manifest, release_id: str) -> None:
    """Reads every byte: what a server says of an object's digest is what it was once given."""
    with tempfile.TemporaryDirectory() as scratch:
        for path, digest in manifest.files.items():
            local = Path(scratch, "file")
            fetch_file(store, release_id, path, digest, local)
            local.unlink()


def _pointers(publisher: Publisher, targets: Targets) -> dict[str, Pointer]:
    found = {path.split("/")[1]: one for path, one in sorted(targets.targets.items()) if path.startswith("targets/")}
    pointers = {}
    for target, signed in found.items():
        try:
            pointers[target] = parse_pointer(publisher.content(signed), target)
        except _DAMAGED as error:
            raise ConflictError(
                f"pointer of target {target!r} is damaged, so nobody can say what is needed: promote a release for it "
                f"first: {error}"
            ) from error
    return pointers


def _needed(publisher: Publisher, targets: Targets) -> dict[str, str]:
    """Releases that must stay, and why."""
    needed: dict[str, str] = {}
    for target, pointer in _pointers(publisher, targets).items():
        if pointer.replaces is not None:
            needed.setdefault(pointer.replaces, f"target {target} ran it before, and may be rolled back to it")
        needed[pointer.release_id] = f"target {target} runs it"
    now = datetime.now(UTC).timestamp()
    for key in publisher.store.list("awaited/"):
        if now < _until(publisher.store, key):
            needed.setdefault(key.removeprefix("awaited/").removesuffix(".json"), "reports on it are awaited")
    return needed


def _until(store: ObjectStore, key: str) -> float:
    """Of a mark of who waits; 0 where there is none, or nobody can say."""
    try:
        return float(json.loads(store.get(key, max_bytes=_MAX_MARK_BYTES))["until"])
    except (NotStoredError, ContractError, ValueError, KeyError, TypeError):
        return 0.0


def _age(store: ObjectStore, key: str) -> timedelta:
    """Of a mark of a publication; none where somebody has just removed it, or nobody can say."""
    try:
        text = store.get(key, max_bytes=_MAX_MARK_BYTES).decode("ascii", "replace")
        began = datetime.strptime(check_time(key, text), "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)
    except (NotStoredError, ContractError):
        return timedelta(0)
    return datetime.now(UTC) - began


def _remove_files(store: ObjectStore, release_id: str) -> None:
    for key in store.list(f"releases/{check_release_id('release_id', release_id)}/"):
        store.delete(key)


def _mark_key(kind: str, release_id: str) -> str:
    return f"{kind}/{check_release_id('release_id', release_id)}.json"
