"""The way of a release to devices: published, promoted, fetched, and checked at every step.

    releases/<release_id>/<file>            the files, written first, never changed
    releases/<release_id>/manifest.json     their digests: written after them, so it marks the release complete
    targets/<target>/current.json           which release a target runs: moved last, by conditional write
    reports/<device>/<release_id>/...       what devices measured (infra.device.reports)

A reader who sees the pointer can trust the rest, and checks it.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from infra.device.documents.file_digest import FileDigest
from infra.device.documents.manifest import Manifest, manifest_key, release_file_key, release_id_of
from infra.device.documents.pointer import Pointer, pointer_key
from infra.device.errors import ConflictError, ContractError, DigestMismatchError, NotStoredError
from infra.device.files.atomic_file import PARTIAL_PREFIX
from infra.device.stores.object_store import ObjectStore


def publish_release(store: ObjectStore, manifest: Manifest, sources: Mapping[str, str]) -> str:
    """Stores a release, files first, manifest last, and returns its release_id; doing it again changes nothing.

    Args:
        store: where to.
        manifest: what the release is.
        sources: path in the release -> key of the object that it is copied from; exactly the paths of
            `manifest.files`.

    Raises:
        NotStoredError: a source is not in the store.
        ContractError: other paths than the manifest's, or a source or a file stored earlier is larger than it says.
        DigestMismatchError: a source, or a file stored earlier under the same key, is not what the manifest says.
    """
    if set(sources) != set(manifest.files):
        raise ContractError(f"files of a release: got {sorted(sources)}, wanted {sorted(manifest.files)}")
    release_id = release_id_of(manifest)
    for path, digest in manifest.files.items():
        key = release_file_key(release_id, path)
        try:
            store.copy(sources[path], key, digest, if_absent=True)
        except ConflictError:
            digest.check(path, store.digest(key, max_bytes=digest.size_bytes))
    try:
        store.put(manifest_key(release_id), manifest.to_json(), if_absent=True)
    except ConflictError:
        read_manifest(store, release_id)
    return release_id


def read_manifest(store: ObjectStore, release_id: str) -> Manifest:
    """The manifest of a release.

    Raises:
        NotStoredError: there is no such release.
        ContractError: it is malformed.
        DigestMismatchError: its content is that of another release.
    """
    return _checked_manifest(store.get(manifest_key(release_id), max_bytes=Manifest.max_bytes), release_id)


def promote(store: ObjectStore, target: str, release_id: str, *, instead_of: str | None = None) -> Pointer:
    """Moves the target's pointer to the release and returns it; a pointer that is there already is left as it is.

    Rolling back is promoting the earlier release again.

    Args:
        store: where to.
        target: whose pointer.
        release_id: of the release that it will lead to.
        instead_of: the release_id that it leads to now, as the caller has seen; None where that does not matter.

    Raises:
        NotStoredError: the release, or a file that its manifest names, is not in the store.
        ContractError: the release has nothing for this target, or manifest or pointer are malformed.
        DigestMismatchError: the manifest's content is that of another release.
        ConflictError: somebody else moved the pointer in the meantime; look again before you move it.
    """
    data = store.get(manifest_key(release_id), max_bytes=Manifest.max_bytes)
    manifest = _checked_manifest(data, release_id)
    if target not in manifest.targets:
        raise ContractError(f"release {release_id}: no files for target {target!r}, it has {sorted(manifest.targets)}")
    _check_complete(store, manifest, release_id)
    wanted = Pointer(target=target, release_id=release_id, manifest_sha256=hashlib.sha256(data).hexdigest())
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

    They stand in `folder/<release_id>/<target>/`, which is there whole or not at all and replaces an earlier copy. The
    IR of the turned shape is in it as well, where there is one.

    Raises:
        DigestMismatchError: manifest or file are not what pointer and manifest say; nothing is left behind.
        ContractError: the manifest is malformed or has nothing for this target, or a file is larger than it says.
        NotStoredError: manifest or file are missing.
        DiskFullError: no room; nothing is left behind.
    """
    data = store.get(manifest_key(pointer.release_id), max_bytes=Manifest.max_bytes)
    if (found := hashlib.sha256(data).hexdigest()) != pointer.manifest_sha256:
        raise DigestMismatchError(
            f"manifest of release {pointer.release_id}: got SHA-256 {found}, wanted {pointer.manifest_sha256}"
        )
    manifest = _checked_manifest(data, pointer.release_id)
    if pointer.target not in manifest.targets:
        raise ContractError(f"release {pointer.release_id}: no files for target {pointer.target!r}")
    target_files = manifest.targets[pointer.target]
    final = folder / pointer.release_id / pointer.target
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=final.parent, prefix=PARTIAL_PREFIX) as scratch:
        partial = Path(scratch) / pointer.target
        for path in target_files.paths:
            digest = manifest.files[path]
            key = release_file_key(pointer.release_id, path)
            store.download_file(key, partial / path, max_bytes=digest.size_bytes)
            digest.check(path, FileDigest.of(partial / path))
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
    return final / target_files.ir_xml


def _checked_manifest(data: bytes, release_id: str) -> Manifest:
    manifest = Manifest.from_json(data)
    if release_id_of(manifest) != release_id:
        raise DigestMismatchError(f"manifest of release {release_id}: its content is that of {release_id_of(manifest)}")
    return manifest


def _check_complete(store: ObjectStore, manifest: Manifest, release_id: str) -> None:
    stored = set(store.list(f"releases/{release_id}/"))
    missing = sorted(path for path in manifest.files if release_file_key(release_id, path) not in stored)
    if missing:
        raise NotStoredError(f"release {release_id} in {store.url}: files missing: {missing}")


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
