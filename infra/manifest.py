"""What a release is and where it stands: its manifest, the pointer of a target, and their keys.

Python 3.9 and the standard library only: this file ships with the edge agent.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar

from infra.contract import (
    SCHEMA_VERSION,
    Document,
    JsonObject,
    canonical_json,
    check_finite,
    check_name,
    check_release_id,
    check_schema_version,
    check_sha256,
    check_time,
    utc_now,
)
from infra.errors import ContractError

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
class Manifest(Document):
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

    kind: ClassVar[str] = "manifest"
    max_bytes: ClassVar[int] = 1 << 20

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

    @classmethod
    def _read(cls, manifest: JsonObject) -> Manifest:
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
    value.only_fields_of(TargetFiles)
    return TargetFiles(
        ir_xml=value.text("ir_xml"),
        ir_bin=value.text("ir_bin"),
        input_name=value.text("input_name"),
        input_shape=value.integers("input_shape"),
        precision=value.text("precision"),
    )


def _release_file(value: JsonObject) -> ReleaseFile:
    value.only_fields_of(ReleaseFile)
    return ReleaseFile(path=value.text("path"), sha256=value.text("sha256"), size_bytes=value.integer("size_bytes"))


@dataclass(frozen=True)
class Pointer(Document):
    """Which release a target runs; its digest of the manifest is what a device trusts."""

    kind: ClassVar[str] = "pointer"
    max_bytes: ClassVar[int] = 1 << 16

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

    @classmethod
    def _read(cls, pointer: JsonObject) -> Pointer:
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
