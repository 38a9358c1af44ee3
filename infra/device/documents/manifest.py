"""What a release is: its manifest, the name that its content gives it, and the keys of its objects.

Version 5 can name a golden file of a target. Version 4 states a licence. Version 3 could name a second IR of a target,
of its input shape turned. Version 2 had one IR for each target. Version 1 named a model for the workload, called the
network that was exported `candidate_id`, and kept a list of files. All are still read, and keep their release_id.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import ClassVar, TypeVar

from infra.device.documents.canonical_json import canonical_json
from infra.device.documents.checks import (
    check_finite,
    check_name,
    check_release_id,
    check_sha256,
    check_time,
    utc_now,
)
from infra.device.documents.document import Document
from infra.device.documents.file_digest import FileDigest
from infra.device.documents.json_object import JsonObject
from infra.device.errors import ContractError

# All that manifests of version 1 speak of.
_MODEL_1, _WORKLOAD_1 = "modnet", "matting"
_LICENCE = re.compile(r"[A-Za-z0-9.+()-]+( [A-Za-z0-9.+()-]+)*")
_Part = TypeVar("_Part")
_PATH_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class TurnedFiles:
    """The same network for images of the other orientation.

    Attributes:
        ir_xml, ir_bin, input_shape: as those of `TargetFiles`.
    """

    ir_xml: str
    ir_bin: str
    input_shape: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_ir(self.ir_xml, self.ir_bin, self.input_shape)


_INFINITELY_WRONG = 1e9  # what a device reports of outputs that are no numbers


@dataclass(frozen=True)
class Golden:
    """What a device compares, on the very network that it is about to measure.

    Attributes:
        path: in the release, of a NumPy archive (`.npz`). `inputs` has N images as the IR reads them, (N, …) like the
            input without its batch, float32 or uint8; `outputs` what the float network gave, (N, …) float32.
        tolerance: above the mean absolute difference of an image's output, the device's numerics are wrong.
    """

    path: str
    tolerance: float

    def __post_init__(self) -> None:
        _check_path("manifest.targets.golden.path", self.path)
        if not 0 < self.tolerance < _INFINITELY_WRONG:
            wanted = f"wanted above 0, below {_INFINITELY_WRONG:g}"
            raise ContractError(f"manifest.targets.golden.tolerance: got {self.tolerance}, {wanted}")


@dataclass(frozen=True)
class TargetFiles:
    """The IR that one target runs.

    Attributes:
        ir_xml, ir_bin: paths in the release; one name with two endings, as the runtime looks for them.
        input_name: of the network's only input.
        input_shape: as exported, batch first.
        precision: of the stored weights: `fp32`, `fp16`, `int8`.
        turned: a second IR, whose input has height and width exchanged; None: there is none.
        golden: what a device compares before it measures; None: nothing, as in versions before 5.
    """

    ir_xml: str
    ir_bin: str
    input_name: str
    input_shape: tuple[int, ...]
    precision: str
    turned: TurnedFiles | None = None
    golden: Golden | None = None

    def __post_init__(self) -> None:
        _check_ir(self.ir_xml, self.ir_bin, self.input_shape)
        if self.turned is not None:
            got, of = self.turned.input_shape, self.input_shape
            if got == of or sorted(got) != sorted(of):
                raise ContractError(
                    f"manifest.targets.turned.input_shape: got {list(got)}, wanted {list(of)} with two sizes exchanged"
                )

    @property
    def paths(self) -> tuple[str, ...]:
        """Of all its files in the release."""
        turned = () if self.turned is None else (self.turned.ir_xml, self.turned.ir_bin)
        golden = () if self.golden is None else (self.golden.path,)
        return (self.ir_xml, self.ir_bin, *turned, *golden)


@dataclass(frozen=True)
class Manifest(Document):
    """What a release consists of and where it comes from.

    Attributes:
        workload: the family of networks that it belongs to, as `matting`.
        network_id: of the network that was exported, unpruned or pruned.
        targets: target -> its files.
        files: path below the release -> what its bytes are; every file of the release.
        scores: what the exported model reached; name -> finite number.
        provenance: how it came about (digests, configs, versions); JSON values, no times: they would give every
            rebuild of the same content another release_id.
        licence: an SPDX expression under which the network may be used, of at most 200 characters; None: nobody stated
            one. Only its form is checked here: devices do not hold the list of licences.
        created_at: UTC, see `checks.utc_now`; not part of the identity.
    """

    kind: ClassVar[str] = "manifest"
    newest: ClassVar[int] = 5
    max_bytes: ClassVar[int] = 1 << 20

    workload: str
    network_id: str
    targets: Mapping[str, TargetFiles]
    files: Mapping[str, FileDigest]
    scores: Mapping[str, float]
    provenance: Mapping[str, object]
    created_at: str = field(default_factory=utc_now)
    licence: str | None = None
    schema_version: int = newest

    def __post_init__(self) -> None:
        self.check_schema_version(self.schema_version)
        check_name("manifest.workload", self.workload)
        check_name("manifest.network_id", self.network_id)
        check_time("manifest.created_at", self.created_at)
        if self.licence is not None and (len(self.licence) > 200 or not _LICENCE.fullmatch(self.licence)):
            raise ContractError(
                f"manifest.licence: got {self.licence[:80]!r}, wanted an SPDX expression such as Apache-2.0"
            )
        # Read back from JSON they are floats: an int here would give the same content another release_id.
        object.__setattr__(self, "scores", {name: float(value) for name, value in self.scores.items()})
        check_finite("manifest.scores", self.scores)
        for path in self.files:
            _check_path("manifest.files", path)
        if not self.targets:
            raise ContractError("manifest.targets: got none, wanted at least one")
        for target, target_files in self.targets.items():
            check_name("manifest.targets", target)
            for path in target_files.paths:
                if path not in self.files:
                    raise ContractError(f"manifest.targets.{target}: {path!r} is not among manifest.files")

    def members(self) -> dict[str, object]:
        """The members of the JSON object, as the document's own schema_version has them."""
        members = asdict(self)
        if self.schema_version < 4:
            del members["licence"]
        for target_files in members["targets"].values():
            for name in _added_after(self.schema_version):
                del target_files[name]
        if self.schema_version == 1:
            del members["workload"]
            members["model"] = _MODEL_1
            members["candidate_id"] = members.pop("network_id")
            members["files"] = [{"path": path, **asdict(digest)} for path, digest in sorted(self.files.items())]
        return members

    @classmethod
    def _read(cls, manifest: JsonObject) -> Manifest:
        version = manifest.integer("schema_version")
        is_first = version == 1
        earlier = {"workload": "model", "network_id": "candidate_id"} if is_first else {}
        manifest.only_fields_of(cls, earlier, without=("licence",) if version < 4 else ())
        return cls(
            schema_version=version,
            workload=_workload_of_version_1(manifest) if is_first else manifest.text("workload"),
            network_id=manifest.text("candidate_id" if is_first else "network_id"),
            targets={name: _target(value, version) for name, value in manifest.nested_by_name("targets").items()},
            files=_files_of_version_1(manifest) if is_first else _files(manifest),
            scores=manifest.numbers_by_name("scores"),
            provenance=manifest.plain("provenance"),
            created_at=manifest.text("created_at"),
            licence=None if version < 4 or manifest.is_null("licence") else manifest.text("licence"),
        )


def _target(value: JsonObject, version: int) -> TargetFiles:
    absent = _added_after(version)

    def read(name: str, kind: type[_Part]) -> _Part | None:
        return None if name in absent or value.is_null(name) else value.nested(name).read(kind)

    return value.read(TargetFiles, absent, turned=read("turned", TurnedFiles), golden=read("golden", Golden))


def _added_after(version: int) -> tuple[str, ...]:
    """Fields of TargetFiles that this version did not have."""
    return tuple(name for name, added_in in {"turned": 3, "golden": 5}.items() if version < added_in)


def _files(manifest: JsonObject) -> dict[str, FileDigest]:
    found = manifest.nested_by_name("files")
    return {path: _digest(value.only_fields_of(FileDigest)) for path, value in found.items()}


def _workload_of_version_1(manifest: JsonObject) -> str:
    if (model := manifest.text("model")) != _MODEL_1:
        raise ContractError(f"manifest.model: got {model[:80]!r}, wanted {_MODEL_1!r}, which version 1 is of")
    return _WORKLOAD_1


def _files_of_version_1(manifest: JsonObject) -> dict[str, FileDigest]:
    listed = manifest.nested_list("files")
    files = {value.text("path"): _digest(value) for value in listed}
    if len(files) != len(listed):
        raise ContractError("manifest.files: a path stands twice, wanted each once")
    return files


def _digest(value: JsonObject) -> FileDigest:
    sha256, size_bytes = value.text("sha256"), value.integer("size_bytes")
    try:
        return FileDigest(sha256, size_bytes)
    except ContractError as error:
        raise ContractError(f"{value.where}.{error}") from error


def release_id_of(manifest: Manifest) -> str:
    """First 12 hexadecimal digits of SHA-256 over the manifest without its time: same content, same release."""
    content = manifest.members()
    del content["created_at"]
    return hashlib.sha256(canonical_json(content)).hexdigest()[:12]


def manifest_path(release_id: str) -> str:
    """The name under which a manifest is signed: `releases/<release_id>/manifest.json`."""
    return f"releases/{check_release_id('release_id', release_id)}/manifest.json"


def manifest_key(release_id: str, sha256: str) -> str:
    """Where it is stored: `releases/<release_id>/<sha256>.manifest.json`, as TUF names what it signs."""
    return f"releases/{check_release_id('release_id', release_id)}/{check_sha256('sha256', sha256)}.manifest.json"


def release_file_key(release_id: str, path: str) -> str:
    """`releases/<release_id>/<path>`."""
    return f"releases/{check_release_id('release_id', release_id)}/{_check_path('path', path)}"


def _check_ir(ir_xml: str, ir_bin: str, input_shape: tuple[int, ...]) -> None:
    _check_path("manifest.targets.ir_xml", ir_xml)
    if not ir_xml.endswith(".xml") or ir_bin != ir_xml[:-4] + ".bin":
        raise ContractError(f"manifest.targets: got {ir_xml!r} and {ir_bin!r}, wanted NAME.xml, NAME.bin")
    if not input_shape or min(input_shape) < 1:
        raise ContractError(f"manifest.targets.input_shape: got {list(input_shape)}, wanted positive sizes")


def _check_path(where: str, path: str) -> str:
    if len(path) > 512 or not all(_PATH_PART.fullmatch(part) for part in path.split("/")):
        raise ContractError(f"{where}: got {path[:80]!r}, wanted a relative path of A-Z a-z 0-9 . _ - and /")
    if path.endswith("manifest.json") and "/" not in path:
        raise ContractError(f"{where}: got {path!r}, a place of the manifest itself")
    return path
