"""Releases as a device sees them: which one a target runs, and its files, checked at every step.

    tuf/...                                          what the store's owner has signed (infra.device.trust)
    targets/<target>/<sha256>.current.json           which release a target runs
    targets/<target>/pins/<sha256>.<device>.json     which release one device runs instead
    targets/<target>/<sha256>.trials.json            which releases devices measure beside it
    releases/<release_id>/<sha256>.manifest.json     the digests of its files
    releases/<release_id>/<file>                     the files, never changed
    reports/<device>/<release_id>/...                what devices measured (infra.device.reports)

A signature leads to the pointer, the pointer to the manifest, the manifest to the files, each by a SHA-256.
`infra.publishing` writes all of it.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from infra.device.documents.file_digest import FileDigest
from infra.device.documents.manifest import Manifest, manifest_key, manifest_path, release_file_key, release_id_of
from infra.device.documents.pointer import Pointer, pin_path, pointer_path
from infra.device.documents.trials import Trials, trials_path
from infra.device.errors import ContractError, DigestMismatchError, NotStoredError
from infra.device.files.atomic_file import PARTIAL_PREFIX
from infra.device.stores.object_store import ObjectStore

if TYPE_CHECKING:  # who fetches by a pointer needs no tuf
    from infra.device.trust import Trust


def read_current(trust: Trust, target: str) -> Pointer:
    """The pointer of a target.

    Raises:
        NotStoredError: nothing was promoted for this target.
        DigestMismatchError: its object is not what was signed.
        ContractError: it is malformed or another target's.
    """
    return parse_pointer(trust.read(pointer_path(target), max_bytes=Pointer.max_bytes), target)


def current_for(trust: Trust, target: str, device: str) -> Pointer:
    """The pointer that a device follows: its own pin, else the target's, else what the target ran before.

    Raises:
        NotStoredError: nothing was promoted for this target.
        DigestMismatchError: an object is not what was signed.
        ContractError: it is malformed or another target's, or leads this device to a release that nobody signed.
    """
    try:
        return parse_pointer(trust.read(pin_path(target, device), max_bytes=Pointer.max_bytes), target)
    except NotStoredError:
        pointer = read_current(trust, target)
    return pointer if pointer.is_for(device) else pointer_before(trust, pointer)


def read_trials(trust: Trust, target: str) -> Trials:
    """What is on trial for a target.

    Raises:
        NotStoredError: nothing is.
        DigestMismatchError: its object is not what was signed.
        ContractError: it is malformed or another target's.
    """
    return parse_trials(trust.read(trials_path(target), max_bytes=Trials.max_bytes), target)


def pointer_before(trust: Trust, pointer: Pointer) -> Pointer:
    """A pointer to the release that one replaces, as if the target still ran it; what came before it is not known.

    Raises:
        DigestMismatchError: its manifest is not what was signed.
        ContractError: it replaces none, or one that is not signed.
    """
    where = f"pointer of target {pointer.target!r}"
    if pointer.replaces is None:
        raise ContractError(f"{where}: replaces no release, wanted one")
    try:
        manifest = trust.read(manifest_path(pointer.replaces), max_bytes=Manifest.max_bytes)
    except NotStoredError as error:
        raise ContractError(f"{where}: replaces release {pointer.replaces}, which is not signed: {error}") from error
    sha256 = hashlib.sha256(manifest).hexdigest()
    return Pointer(pointer.target, pointer.replaces, sha256, moved_at=pointer.moved_at)


def read_manifest(trust: Trust, release_id: str) -> Manifest:
    """The manifest of a release.

    Raises:
        NotStoredError: there is no such release.
        DigestMismatchError: its object is not what was signed, or its content is that of another release.
        ContractError: it is malformed.
    """
    return parse_manifest(trust.read(manifest_path(release_id), max_bytes=Manifest.max_bytes), release_id)


def manifest_of(store: ObjectStore, pointer: Pointer) -> Manifest:
    """The manifest that a pointer leads to.

    Raises:
        NotStoredError: it is missing.
        DigestMismatchError: it is not what the pointer says.
        ContractError: it is malformed, or has nothing for the pointer's target.
    """
    data = store.get(manifest_key(pointer.release_id, pointer.manifest_sha256), max_bytes=Manifest.max_bytes)
    if (found := hashlib.sha256(data).hexdigest()) != pointer.manifest_sha256:
        raise DigestMismatchError(
            f"manifest of release {pointer.release_id}: got SHA-256 {found}, wanted {pointer.manifest_sha256}"
        )
    manifest = parse_manifest(data, pointer.release_id)
    if pointer.target not in manifest.targets:
        raise ContractError(f"release {pointer.release_id}: no files for target {pointer.target!r}")
    return manifest


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
    manifest = manifest_of(store, pointer)
    target_files = manifest.targets[pointer.target]
    final = folder / pointer.release_id / pointer.target
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=final.parent, prefix=PARTIAL_PREFIX) as scratch:
        partial = Path(scratch) / pointer.target
        for path in target_files.paths:
            fetch_file(store, pointer.release_id, path, manifest.files[path], partial / path)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
    return final / target_files.ir_xml


def fetch_file(store: ObjectStore, release_id: str, path: str, digest: FileDigest, local: Path) -> None:
    """Downloads one file of a release and verifies it.

    Raises:
        DigestMismatchError, ContractError, NotStoredError, DiskFullError: as `fetch_release`.
    """
    store.download_file(release_file_key(release_id, path), local, max_bytes=digest.size_bytes)
    digest.check(path, FileDigest.of(local))


def parse_pointer(data: bytes, target: str) -> Pointer:
    """The pointer in `data`, which must be that of `target`.

    Raises:
        ContractError: it is malformed or another target's.
    """
    pointer = Pointer.from_json(data)
    if pointer.target != target:
        raise ContractError(f"pointer of target {target!r}: got one of {pointer.target!r}")
    return pointer


def parse_trials(data: bytes, target: str) -> Trials:
    """The trials in `data`, which must be those of `target`.

    Raises:
        ContractError: they are malformed or another target's.
    """
    trials = Trials.from_json(data)
    if trials.target != target:
        raise ContractError(f"trials of target {target!r}: got those of {trials.target!r}")
    return trials


def parse_manifest(data: bytes, release_id: str) -> Manifest:
    """The manifest in `data`, which must be that of the release.

    Raises:
        ContractError: it is malformed.
        DigestMismatchError: its content is that of another release.
    """
    manifest = Manifest.from_json(data)
    if release_id_of(manifest) != release_id:
        raise DigestMismatchError(f"manifest of release {release_id}: its content is that of {release_id_of(manifest)}")
    return manifest
