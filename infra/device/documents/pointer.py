"""Which release a target runs. Version 2 also says which one it ran before, version 3 how many devices run it yet."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import ClassVar

from infra.device.documents.checks import check_name, check_release_id, check_sha256, check_time, utc_now
from infra.device.documents.document import Document
from infra.device.documents.json_object import JsonObject
from infra.device.errors import ContractError


@dataclass(frozen=True)
class Pointer(Document):
    """Which release a target runs.

    Attributes:
        manifest_sha256: of the release's manifest, which a device trusts by it.
        replaces: the release that the target ran before; None: it is the first, or the pointer is of version 1.
        share: of the target's devices that run the release, in (0, 1]; the others still run `replaces`.
    """

    kind: ClassVar[str] = "pointer"
    newest: ClassVar[int] = 3
    max_bytes: ClassVar[int] = 1 << 16

    target: str
    release_id: str
    manifest_sha256: str
    replaces: str | None = None
    share: float = 1.0
    moved_at: str = field(default_factory=utc_now)
    schema_version: int = newest

    def __post_init__(self) -> None:
        self.check_schema_version(self.schema_version)
        check_name("pointer.target", self.target)
        check_release_id("pointer.release_id", self.release_id)
        check_sha256("pointer.manifest_sha256", self.manifest_sha256)
        check_time("pointer.moved_at", self.moved_at)
        if self.replaces is not None:
            check_release_id("pointer.replaces", self.replaces)
        if not 0 < self.share <= 1:
            raise ContractError(f"pointer.share: got {self.share}, wanted above 0, at most 1")
        if self.share < 1 and self.replaces is None:
            raise ContractError(f"pointer.share: got {self.share}, wanted 1 where no release was there before")

    def members(self) -> dict[str, object]:
        """The members of the JSON object, as the document's own schema_version has them."""
        members = asdict(self)
        for name in _added_after(self.schema_version):
            del members[name]
        return members

    @classmethod
    def _read(cls, members: JsonObject) -> Pointer:
        absent = _added_after(members.integer("schema_version"))
        return members.read(cls, absent, **{name: _BEFORE[name] for name in absent})

    def is_for(self, device: str) -> bool:
        """Whether the device is among the share that runs the release.

        It is chosen by a hash of target, release and device: the same devices while the share stays, these and more
        when it grows, and others for the next release.
        """
        digest = hashlib.sha256(f"{self.target}/{self.release_id}/{device}".encode()).digest()
        return int.from_bytes(digest[:4], "big") < self.share * 2**32

    def leads_where(self, other: Pointer) -> bool:
        """Both name the same manifest for the same target, whenever they were moved."""
        return (self.target, self.release_id, self.manifest_sha256) == (
            other.target,
            other.release_id,
            other.manifest_sha256,
        )


_BEFORE = {"replaces": None, "share": 1.0}
_ADDED_IN = {"replaces": 2, "share": 3}


def _added_after(version: int) -> tuple[str, ...]:
    return tuple(name for name, added_in in _ADDED_IN.items() if version < added_in)


def pin_path(target: str, device: str) -> str:
    """The name under which the pointer of one device alone is signed: `targets/<target>/pins/<device>.json`."""
    return f"targets/{check_name('target', target)}/pins/{check_name('device', device)}.json"


def pointer_path(target: str) -> str:
    """The name under which a target's pointer is signed: `targets/<target>/current.json`."""
    return f"targets/{check_name('target', target)}/current.json"
