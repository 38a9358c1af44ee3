"""Releases: how an exported model reaches devices. Manifest, pointer, and the way from one to the other.

    releases/<release_id>/<file>            the files, written first, never changed
    releases/<release_id>/manifest.json     their digests: written after them, so it marks the release complete
    targets/<target>/current.json           which release a target runs: moved last, by conditional write
    reports/<release_id>/<device>/...       what devices measured (infra.reports)

A reader who sees the pointer can trust the rest, and checks it. Python 3.9 and the standard library only: this file
ships with the edge agent.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from infra.atomic_file import PARTIAL_PREFIX
from infra.contract import (
    SCHEMA_VERSION,
    JsonObject,
    canonical_json,
    check_finite,
    check_name,
    check_release_id,
    check_schema_version,
    check_sha256,
    check_time,
    parse_json,
    utc_now,
)
from infra.errors import ConflictError, ContractError, DigestMismatchError, NotStoredError

if TYPE_CHECKING:
    from infra.object_store import ObjectStore

MAX_MANIFEST_BYTES = 1 << 20
MAX_POINTER_BYTES = 1 << 16
_PATH_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class ReleaseFile:
    """One file of a release: where it stands below the release, and what its bytes are."""

    path: str
    sha256: str
    size_bytes: int

    def __post_init__(self) -> None:
        _check_path("manifest.files.path", self.path)
        check_sha256(f"manifest.files[{self.path}].sha256", self.sha256)
        if self.size_bytes < 0:
            raise ContractError(f"manifest.files[{self.path}].size_bytes: got {self.size_bytes}, wanted 0 or more")

    @classmethod
    def of(cls, path: str, local: Path) -> ReleaseFile:
        """The entry for a local file that will stand at `path` in the release."""
        return cls(path=path, sha256=sha256_of(local), size_bytes=local.stat().st_size)


@dataclass(frozen=True)
class TargetFiles:
    """The IR that one target runs.

    Attributes:
        ir_xml, ir_bin: paths in the release; one name with two endings, as the runtime looks for them.
        input_name: of the network's only input.
        input_shape: as exported, batch first.
        precision: of the stored weights: `fp32`, `fp16`, `int8`.
    """

    ir_xml: str
    ir_bin: str
    input_name: str
    input_shape: tuple[int, ...]
    precision: str

    def __post_init__(self) -> None:
        _check_path("manifest.targets.ir_xml", self.ir_xml)
        if not self.ir_xml.endswith(".xml") or self.ir_bin != self.ir_xml[:-4] + ".bin":
            raise ContractError(f"manifest.targets: got {self.ir_xml!r} and {self.ir_bin!r}, wanted NAME.xml, NAME.bin")
        if not self.input_shape or min(self.input_shape) < 1:
            raise ContractError(f"manifest.targets.input_shape: got {list(self.input_shape)}, wanted positive sizes")


@dataclass(frozen=True)
class Manifest:
    """What a release consists of and where it comes from.

    Attributes:
        model: name of the network, as `modnet`.
        candidate_id: of the candidate that was exported.
        targets: target -> its files.
        files: every file of the release, in any order.
        scores: what the exported model reached; name -> finite number.
        provenance: how it came about (digests, configs, versions); JSON values, no times: they would give every
            rebuild of the same content another release_id.
        created_at: UTC, see `infra.contract.utc_now`; not part of the identity.
    """

    model: str
    candidate_id: str
    targets: Mapping[str, TargetFiles]
    files: tuple[ReleaseFile, ...]
    scores: Mapping[str, float]
    provenance: Mapping[str, object]
    created_at: str = field(default_factory=utc_now)
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        check_schema_version("manifest", self.schema_version)
        check_name("manifest.model", self.model)
        check_name("manifest.candidate_id", self.candidate_id)
        check_time("manifest.created_at", self.created_at)
        # Read back from JSON they are floats: an int here would give the same content another release_id.
        object.__setattr__(self, "scores", {name: float(value) for name, value in self.scores.items()})
        check_finite("manifest.scores", self.scores)
        paths = [file.path for file in self.files]
        if len(set(paths)) != len(paths):
            raise ContractError("manifest.files: a path stands twice, wanted each once")
        if not self.targets:
            raise ContractError("manifest.targets: got none, wanted at least one")
        for target, target_files in self.targets.items():
            check_name("manifest.targets", target)
            for path in (target_files.ir_xml, target_files.ir_bin):
                if path not in paths:
                    raise ContractError(f"manifest.targets.{target}: {path!r} is not among manifest.files")

    def file(self, path: str) -> ReleaseFile:
        """The entry of one path."""
        return next(file for file in self.files if file.path == path)

    def to_json(self) -> bytes:
        """Canonical JSON that `from_json` reads back to an equal manifest."""
        return canonical_json(asdict(self))

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """The manifest in `data`.

        Raises:
            ContractError: says field, got and wanted.
        """
        manifest = parse_json(data, "manifest", max_bytes=MAX_MANIFEST_BYTES)
        manifest.only(*(field.name for field in fields(cls)))
        return cls(
            schema_version=manifest.integer("schema_version"),
            model=manifest.text("model"),
            candidate_id=manifest.text("candidate_id"),
            targets={name: _target_files(value) for name, value in manifest.nested_by_name("targets").items()},
            files=tuple(_release_file(value) for value in manifest.nested_list("files")),
            scores=manifest.numbers_by_name("scores"),
            provenance=manifest.plain("provenance"),
            created_at=manifest.text("created_at"),
        )


def _target_files(value: JsonObject) -> TargetFiles:
    value.only(*(field.name for field in fields(TargetFiles)))
    return TargetFiles(
        ir_xml=value.text("ir_xml"),
        ir_bin=value.text("ir_bin"),
        input_name=value.text("input_name"),
        input_shape=value.integers("input_shape"),
        precision=value.text("precision"),
    )


def _release_file(value: JsonObject) -> ReleaseFile:
    value.only(*(field.name for field in fields(ReleaseFile)))
    return ReleaseFile(path=value.text("path"), sha256=value.text("sha256"), size_bytes=value.integer("size_bytes"))


@dataclass(frozen=True)
class Pointer:
    """Which release a target runs; its digest of the manifest is what a device trusts."""

    target: str
    release_id: str
    manifest_sha256: str
    moved_at: str = field(default_factory=utc_now)
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        check_schema_version("pointer", self.schema_version)
        check_name("pointer.target", self.target)
        check_release_id("pointer.release_id", self.release_id)
        check_sha256("pointer.manifest_sha256", self.manifest_sha256)
        check_time("pointer.moved_at", self.moved_at)

    def leads_where(self, other: Pointer) -> bool:
        """Both name the same manifest for the same target, whenever they were moved."""
        return (self.target, self.release_id, self.manifest_sha256) == (
            other.target,
            other.release_id,
            other.manifest_sha256,
        )

    def to_json(self) -> bytes:
        """Canonical JSON that `from_json` reads back to an equal pointer."""
        return canonical_json(asdict(self))

    @classmethod
    def from_json(cls, data: bytes) -> Pointer:
        """The pointer in `data`.

        Raises:
            ContractError: says field, got and wanted.
        """
        pointer = parse_json(data, "pointer", max_bytes=MAX_POINTER_BYTES)
        pointer.only(*(field.name for field in fields(cls)))
        return cls(
            schema_version=pointer.integer("schema_version"),
            target=pointer.text("target"),
            release_id=pointer.text("release_id"),
            manifest_sha256=pointer.text("manifest_sha256"),
            moved_at=pointer.text("moved_at"),
        )


def release_id(manifest: Manifest) -> str:
    """First 12 hexadecimal digits of SHA-256 over the manifest without its time: same content, same release.

    The order of `files` does not count.
    """
    content = asdict(manifest)
    del content["created_at"]
    content["files"] = sorted(content["files"], key=lambda file: str(file["path"]))
    return hashlib.sha256(canonical_json(content)).hexdigest()[:12]


def manifest_key(release: str) -> str:
    """`releases/<release_id>/manifest.json`."""
    return f"releases/{check_release_id('release_id', release)}/manifest.json"


def release_file_key(release: str, path: str) -> str:
    """`releases/<release_id>/<path>`."""
    return f"releases/{check_release_id('release_id', release)}/{_check_path('path', path)}"


def pointer_key(target: str) -> str:
    """`targets/<target>/current.json`."""
    return f"targets/{check_name('target', target)}/current.json"


def publish_release(store: ObjectStore, manifest: Manifest, files: Mapping[str, Path]) -> str:
    """Stores a release, files first, manifest last, and returns its release_id; doing it again changes nothing.

    Args:
        store: where to.
        manifest: what the release is.
        files: path in the release -> local file; exactly the paths of `manifest.files`.

    Raises:
        ContractError: other paths than the manifest's.
        DigestMismatchError: a local file, or one stored earlier under the same key, is not what the manifest says.
    """
    if set(files) != {file.path for file in manifest.files}:
        raise ContractError(
            f"files of a release: got {sorted(files)}, wanted {sorted(file.path for file in manifest.files)}"
        )
    release = release_id(manifest)
    for file in manifest.files:
        _check_file(file, files[file.path])
        key = release_file_key(release, file.path)
        try:
            store.upload_file(key, files[file.path], if_absent=True)
        except ConflictError:
            _check_stored_file(store, key, file)
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
    return _checked_manifest(store.get(manifest_key(release), max_bytes=MAX_MANIFEST_BYTES), release)


def promote(store: ObjectStore, target: str, release: str) -> Pointer:
    """Moves the target's pointer to the release and returns it; a pointer that is there already is left as it is.

    Rolling back is promoting the earlier release again.

    Raises:
        NotStoredError: the release, or a file that its manifest names, is not in the store.
        ContractError: the release has nothing for this target, or manifest or pointer are malformed.
        DigestMismatchError: the manifest's content is that of another release.
        ConflictError: somebody else moved the pointer in the meantime; look again before you move it.
    """
    data = store.get(manifest_key(release), max_bytes=MAX_MANIFEST_BYTES)
    manifest = _checked_manifest(data, release)
    if target not in manifest.targets:
        raise ContractError(f"release {release}: no files for target {target!r}, it has {sorted(manifest.targets)}")
    _check_complete(store, manifest, release)
    wanted = Pointer(target=target, release_id=release, manifest_sha256=hashlib.sha256(data).hexdigest())
    try:
        current, etag = _current_with_etag(store, target)
    except NotStoredError:
        return _move(store, wanted, if_absent=True)
    return current if current.leads_where(wanted) else _move(store, wanted, if_match=etag)


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
        ContractError: the manifest is malformed or has nothing for this target.
        NotStoredError: manifest or file are missing.
        DiskFullError: no room; nothing is left behind.
    """
    data = store.get(manifest_key(pointer.release_id), max_bytes=MAX_MANIFEST_BYTES)
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
            store.download_file(release_file_key(pointer.release_id, path), partial / path)
            _check_file(manifest.file(path), partial / path)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
    return final / target_files.ir_xml


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _check_path(where: str, path: str) -> str:
    if len(path) > 512 or not all(_PATH_PART.fullmatch(part) for part in path.split("/")):
        raise ContractError(f"{where}: got {path[:80]!r}, wanted a relative path of A-Z a-z 0-9 . _ - and /")
    if path == "manifest.json":
        raise ContractError(f"{where}: got 'manifest.json', which is the manifest's own place")
    return path


def _check_digest(what: str, got: str, wanted: str) -> None:
    if got != wanted:
        raise DigestMismatchError(f"{what}: got SHA-256 {got}, wanted {wanted}")


def _check_file(file: ReleaseFile, local: Path) -> None:
    size_bytes = local.stat().st_size
    if size_bytes != file.size_bytes:
        raise DigestMismatchError(f"{file.path}: got {size_bytes} bytes, wanted {file.size_bytes}")
    _check_digest(file.path, sha256_of(local), file.sha256)


def _check_stored_file(store: ObjectStore, key: str, file: ReleaseFile) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "stored"
        store.download_file(key, copy)
        _check_file(file, copy)


def _checked_manifest(data: bytes, release: str) -> Manifest:
    manifest = Manifest.from_json(data)
    if release_id(manifest) != release:
        raise DigestMismatchError(f"manifest of release {release}: its content is that of {release_id(manifest)}")
    return manifest


def _check_complete(store: ObjectStore, manifest: Manifest, release: str) -> None:
    stored = set(store.list(f"releases/{release}/"))
    missing = [file.path for file in manifest.files if release_file_key(release, file.path) not in stored]
    if missing:
        raise NotStoredError(f"release {release} in {store.url}: files missing: {missing}")


def _current_with_etag(store: ObjectStore, target: str) -> tuple[Pointer, str]:
    data, etag = store.get_with_etag(pointer_key(target), max_bytes=MAX_POINTER_BYTES)
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
