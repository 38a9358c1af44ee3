"""Records and files in the object store: written whole, verified when read, found again by what was asked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from infra.contract import canonical_json
from infra.errors import ContractError, DigestMismatchError, NotStoredError
from infra.object_store import ObjectStore
from modnet.records import Record, StoredFile

Kind = TypeVar("Kind", bound=Record)

# A stage's version is raised when its result for the same question would change. A golden test catches a forgotten
# raise.
STAGE_VERSIONS = {"dataset": 1, "base": 4, "prune": 1, "retrain": 5, "evaluate": 2, "export": 3, "sensitivity": 1}


def identify(**question: Any) -> str:
    """First 12 hexadecimal digits of SHA-256 over the canonical JSON of a question: same question, same name."""
    return hashlib.sha256(canonical_json(question)).hexdigest()[:12]


def put_file(store: ObjectStore, key: str, content: bytes) -> StoredFile:
    """Writes an object and says what a reader must find there."""
    store.put(key, content)
    return StoredFile(key=key, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


def upload(store: ObjectStore, key: str, path: Path) -> StoredFile:
    """Writes a local file as an object, without holding it in memory."""
    store.upload_file(key, path)
    return StoredFile(key=key, sha256=_sha256(path), size_bytes=path.stat().st_size)


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
    if path.exists() and _sha256(path) == file.sha256:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    store.download_file(file.key, path)
    if (digest := _sha256(path)) != file.sha256:
        path.unlink()
        raise DigestMismatchError(f"{store.url}/{file.key} has SHA-256 {digest}, its record says {file.sha256}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def put_record(store: ObjectStore, key: str, record: Record) -> None:
    """Writes a record: the mark that a stage is done, so after everything it speaks of."""
    store.put(key, record.model_dump_json().encode())


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
    """The record at `key`; computed and written when it cannot be recalled."""
    record = recall(store, key, kind)
    if record is None:
        record = compute()
        put_record(store, key, record)
    return record
