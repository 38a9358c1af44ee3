"""Which release a target runs: the one object that moves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from infra.device.documents.checks import check_name, check_release_id, check_sha256, check_time, utc_now
from infra.device.documents.document import Document


@dataclass(frozen=True)
class Pointer(Document):
    """Which release a target runs; its digest of the manifest is what a device trusts."""

    kind: ClassVar[str] = "pointer"
    newest: ClassVar[int] = 1
    max_bytes: ClassVar[int] = 1 << 16

    target: str
    release_id: str
    manifest_sha256: str
    moved_at: str = field(default_factory=utc_now)
    schema_version: int = newest

    def __post_init__(self) -> None:
        self.check_schema_version(self.schema_version)
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


def pointer_key(target: str) -> str:
    """`targets/<target>/current.json`."""
    return f"targets/{check_name('target', target)}/current.json"
