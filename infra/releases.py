"""The way of a release to devices: published, promoted, fetched, and checked at every step.

    releases/<release_id>/<file>            the files, written first, never changed
    releases/<release_id>/manifest.json     their digests: written after them, so it marks the release complete
    targets/<target>/current.json           which release a target runs: moved last, by conditional write
    reports/<release_id>/<device>/...       what devices measured (infra.reports)

A reader who sees the pointer can trust the rest, and checks it. Python 3.9 and the standard library only: this file
ships with the edge agent.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from infra.atomic_file import PARTIAL_PREFIX
from infra.errors import ConflictError, ContractError, DigestMismatchError, NotStoredError
from infra.manifest import (
    Manifest,
    Pointer,
    ReleaseFile,
    manifest_key,
    pointer_key,
    release_file_key,
    release_id,
    sha256_of,
)

if TYPE_CHECKING:
    from infra.object_store import ObjectStore


def publish_release(store: ObjectStore, manifest: Manifest, files: Mapping[str, Path]) -> str:
    """Stores a release, files first, manifest last, and returns its release_id; doing it again changes nothing.

    Args:
        store: where to.
        manifest: what the release is.
        files: path in the release -> local file; exactly the paths of `manifest.files`.

    Raises:
        ContractError: other paths than the manifest's, or a file stored earlier is larger than it says.
        DigestMismatchError: a local file, or one stored earlier under the same key, is not what the manifest says.
    """
    if set(files) != {entry.path for entry in manifest.files}:
        raise ContractError(
            f"files of a release: got {sorted(files)}, wanted {sorted(entry.path for entry in manifest.files)}"
        )
    release = release_id(manifest)
    for entry in manifest.files:
        _check_file(entry, files[entry.path])
        key = release_file_key(release, entry.path)
        try:
            store.upload_file(key, files[entry.path], if_absent=True)
        except ConflictError:
            _check_stored_file(store, key, entry)
    try:
        store.put(manifest_key(release), manifest.to_json(), if_absent=True)
    except ConflictError:
        read_manifest(store, release)
    return release


def read_manifest(store: ObjectStore, release: str) -> Manifest:
    """The manifest of a release.

    Raises:
        NotStoredError: there is no such release.
        ContractError: it is malformed.
        DigestMismatchError: its content is that of another release.
    """
    return _checked_manifest(store.get(manifest_key(release), max_bytes=Manifest.max_bytes), release)


def promote(store: ObjectStore, target: str, release: str, *, instead_of: str | None = None) -> Pointer:
    """Moves the target's pointer to the release and returns it; a pointer that is there already is left as it is.

    Rolling back is promoting the earlier release again.

    Args:
        store: where to.
        target: whose pointer.
        release: the release_id that it will lead to.
        instead_of: the release that it leads to now, as the caller has seen; None where that does not matter.

    Raises:
        NotStoredError: the release, or a file that its manifest names, is not in the store.
        ContractError: the release has nothing for this target, or manifest or pointer are malformed.
        DigestMismatchError: the manifest's content is that of another release.
        ConflictError: somebody else moved the pointer in the meantime; look again before you move it.
    """
    data = store.get(manifest_key(release), max_bytes=Manifest.max_bytes)
    manifest = _checked_manifest(data, release)
    if target not in manifest.targets:
        raise ContractError(f"release {release}: no files for target {target!r}, it has {sorted(manifest.targets)}")
    _check_complete(store, manifest, release)
    wanted = Pointer(target=target, release_id=release, manifest_sha256=hashlib.sha256(data).hexdigest())
    try:
        current, etag = _current_with_etag(store, target)
    except NotStoredError:
        return _move(store, wanted, if_absent=True)
    if current.leads_where(wanted):
        return current
    if instead_of is not None and current.release_id != instead_of:
        raise ConflictError(
            f"pointer of target {target!r}: leads to release {current.release_id} by now, wanted {instead_of}"
        )
    return _move(store, wanted, if_match=etag)


def read_current(store: ObjectStore, target: str) -> Pointer:
    """The pointer of a target.

    Raises:
        NotStoredError: nothing was promoted for this target.
        ContractError: it is malformed or another target's.
    """
    return _current_with_etag(store, target)[0]


def fetch_release(store: ObjectStore, pointer: Pointer, folder: Path) -> Path:
    """Downloads and verifies what the pointer's target runs; returns the path of its `.xml`, the `.bin` beside it.

    They stand in `folder/<release_id>/<target>/`, which is there whole or not at all and replaces an earlier copy.

    Raises:
        DigestMismatchError: manifest or file are not what pointer and manifest say; nothing is left behind.
        ContractError: the manifest is malformed or has nothing for this target, or a file is larger than it says.
        NotStoredError: manifest or file are missing.
        DiskFullError: no room; nothing is left behind.
    """
    data = store.get(manifest_key(pointer.release_id), max_bytes=Manifest.max_bytes)
    _check_digest(
        f"manifest of release {pointer.release_id}", hashlib.sha256(data).hexdigest(), pointer.manifest_sha256
    )
    manifest = _checked_manifest(data, pointer.release_id)
    if pointer.target not in manifest.targets:
        raise ContractError(f"release {pointer.release_id}: no files for target {pointer.target!r}")
    target_files = manifest.targets[pointer.target]
    final = folder / pointer.release_id / pointer.target
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=final.parent, prefix=PARTIAL_PREFIX) as scratch:
        partial = Path(scratch) / pointer.target
        for path in (target_files.ir_xml, target_files.ir_bin):
            entry = manifest.file(path)
            key = release_file_key(pointer.release_id, path)
            store.download_file(key, partial / path, max_bytes=entry.size_bytes)
            _check_file(entry, partial / path)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
    return final / target_files.ir_xml


def _check_digest(what: str, got: str, wanted: str) -> None:
    if got != wanted:
        raise DigestMismatchError(f"{what}: got SHA-256 {got}, wanted {wanted}")


def _check_file(entry: ReleaseFile, local: Path) -> None:
    size_bytes = local.stat().st_size
    if size_bytes != entry.size_bytes:
        raise DigestMismatchError(f"{entry.path}: got {size_bytes} bytes, wanted {entry.size_bytes}")
    _check_digest(entry.path, sha256_of(local), entry.sha256)


def _check_stored_file(store: ObjectStore, key: str, entry: ReleaseFile) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "stored"
        store.download_file(key, copy, max_bytes=entry.size_bytes)
        _check_file(entry, copy)


def _checked_manifest(data: bytes, release: str) -> Manifest:
    manifest = Manifest.from_json(data)
    if release_id(manifest) != release:
        raise DigestMismatchError(f"manifest of release {release}: its content is that of {release_id(manifest)}")
    return manifest


def _check_complete(store: ObjectStore, manifest: Manifest, release: str) -> None:
    stored = set(store.list(f"releases/{release}/"))
    missing = [entry.path for entry in manifest.files if release_file_key(release, entry.path) not in stored]
    if missing:
        raise NotStoredError(f"release {release} in {store.url}: files missing: {missing}")


def _current_with_etag(store: ObjectStore, target: str) -> tuple[Pointer, str]:
    data, etag = store.get_with_etag(pointer_key(target), max_bytes=Pointer.max_bytes)
    pointer = Pointer.from_json(data)
    if pointer.target != target:
        raise ContractError(f"pointer of target {target!r}: got one of {pointer.target!r}")
    return pointer, etag


def _move(store: ObjectStore, wanted: Pointer, *, if_absent: bool = False, if_match: str | None = None) -> Pointer:
    try:
        store.put(pointer_key(wanted.target), wanted.to_json(), if_absent=if_absent, if_match=if_match)
    except ConflictError:
        # A write whose answer was lost is repeated by the client and then conflicts with itself.
        current = read_current(store, wanted.target)
        if not current.leads_where(wanted):
            raise
        return current
    return wanted
