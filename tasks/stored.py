"""Records and files in the object store: written whole, verified when read, found again by what was asked."""

import hashlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pydantic import ValidationError

from infra.device.documents.canonical_json import canonical_json
from infra.device.documents.file_digest import FileDigest
from infra.device.errors import ConflictError, ContractError, DigestMismatchError, NotStoredError
from infra.device.stores.object_store import ObjectStore, open_store
from infra.patience import Asked, patient
from infra.settings import Settings
from modnet.configs import ComputeConfig
from modnet.records import Record, StoredFile

Kind = TypeVar("Kind", bound=Record)

# A stage's version is raised when its result for the same question would change. A golden test catches a forgotten
# raise.
STAGE_VERSIONS = {
    "dataset": 3,
    "check": 1,
    "base": 4,
    "prune": 2,
    "retrain": 7,
    "evaluate": 3,
    "export": 7,
    "sensitivity": 2,
}


_wait_s = ComputeConfig().store_wait_s


def wait_for_store(seconds: float) -> None:
    """Says how long this process waits for a store that does not answer; one process runs one run's flows."""
    global _wait_s
    _wait_s = seconds


def waited_for(asked: Asked, where: str, wait_s: float | None = None) -> Asked:
    """What is asked, with the patience of this process, or for `wait_s` seconds; see `infra.patience.patient`."""
    return patient(asked, where, _wait_s if wait_s is None else wait_s)


def this_store(wait_s: float | None = None) -> ObjectStore:
    """The object store that this process's settings name; it is waited for where it does not answer."""
    store = prompt_store()
    return waited_for(store, store.url, wait_s)


def prompt_store(url: str | None = None) -> ObjectStore:
    """The same store, or the one at `url`. It says at once that it does not answer: to whoever holds a lock."""
    return open_store(url or Settings.from_env().store_url)


def identify(**question: Any) -> str:
    """First 12 hexadecimal digits of SHA-256 over the canonical JSON of a question: same question, same name."""
    return hashlib.sha256(canonical_json(question)).hexdigest()[:12]


def put_file(store: ObjectStore, key: str, content: bytes) -> StoredFile:
    """Writes an object, its digest added to the name in `key`, and says what a reader must find there.

    Two runs that compute the same at once need not agree to the last bit: neither writes over the other's file.
    """
    file = _stored_file(key, FileDigest.of_chunks([content]))
    store.put(file.key, content)
    return file


def upload(store: ObjectStore, key: str, path: Path) -> StoredFile:
    """Like `put_file`, a local file, without holding it in memory."""
    file = _stored_file(key, FileDigest.of(path))
    store.upload_file(file.key, path)
    return file


def _stored_file(key: str, digest: FileDigest) -> StoredFile:
    path = PurePosixPath(key)  # `a/b.bin` is stored as `a/b-0123456789ab.bin`
    with_digest = path.with_stem(f"{path.stem}-{digest.sha256[:12]}")
    return StoredFile(key=str(with_digest), sha256=digest.sha256, size_bytes=digest.size_bytes)


def digest_of(file: StoredFile) -> FileDigest:
    """What the bytes of a stored file must be."""
    return FileDigest(file.sha256, file.size_bytes)


def fetch(store: ObjectStore, file: StoredFile, folder: Path) -> Path:
    """A verified local copy of an object, under its digest in `folder`; fetched once.

    Raises:
        NotStoredError: no such object.
        DigestMismatchError: its bytes are not those of the record; nothing is kept.
    """
    path = folder / file.sha256[:16] / Path(file.key).name
    fetch_to(store, file, path)
    return path


def fetch_to(store: ObjectStore, file: StoredFile, path: Path) -> None:
    """Like `fetch`, to a given path; a file that is there already is used when it is the right one."""
    wanted = digest_of(file)
    if path.exists() and FileDigest.of(path) == wanted:
        return
    store.download_file(file.key, path)
    try:
        wanted.check(f"{store.url}/{file.key}", FileDigest.of(path))
    except DigestMismatchError:
        path.unlink()
        raise


def put_record(store: ObjectStore, key: str, record: Record, *, if_absent: bool = False) -> None:
    """Writes a record: the mark that a stage is done, so after everything it speaks of.

    Raises:
        ConflictError: `if_absent`, and there is one.
    """
    store.put(key, record.model_dump_json().encode(), if_absent=if_absent)


def get_record(store: ObjectStore, key: str, kind: type[Kind]) -> Kind:
    """Reads a record.

    Raises:
        NotStoredError: no such object.
        ContractError: it is not a record of this kind and version; names the offending fields.
    """
    content = store.get(key)
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'record'}: {e['msg']}" for e in error.errors()[:5])
        raise ContractError(f"{store.url}/{key} is not a {kind.__name__} of this version: {problems}") from error


def recall(store: ObjectStore, key: str, kind: type[Kind]) -> Kind | None:
    """The record at `key` when it and the files it speaks of are there.

    A record of another version, or one whose file is gone, counts as absent. Bytes are verified when a file is fetched.
    """
    try:
        record = get_record(store, key, kind)
    except (NotStoredError, ContractError):
        return None
    return record if all(store.exists(file.key) for file in record.stored_files()) else None


def once(store: ObjectStore, key: str, kind: type[Kind], compute: Callable[[], Kind]) -> Kind:
    """The record at `key`; computed and written when it cannot be recalled.

    Of several runs that compute it at once, all go on with the record that was written first.
    """
    record = recall(store, key, kind)
    if record is not None:
        return record
    is_absent = not store.exists(key)  # what is there but cannot be recalled is written over
    record = compute()
    try:
        put_record(store, key, record, if_absent=is_absent)
    except ConflictError:
        return get_record(store, key, kind)
    return record
