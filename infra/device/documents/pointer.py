"""Which release a target runs. Version 2 also says which one it ran before."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import ClassVar

from infra.device.documents.checks import check_name, check_release_id, check_sha256, check_time, utc_now
from infra.device.documents.document import Document
from infra.device.documents.json_object import JsonObject


@dataclass(frozen=True)
class Pointer(Document):
    """Which release a target runs.

    Attributes:
        manifest_sha256: of the release's manifest, which a device trusts by it.
        replaces: the release that the target ran before; None: it is the first, or the pointer is of version 1.
    """

    kind: ClassVar[str] = "pointer"
    newest: ClassVar[int] = 2
    max_bytes: ClassVar[int] = 1 << 16

    target: str
    release_id: str
    manifest_sha256: str
    replaces: str | None = None
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

    def members(self) -> dict[str, object]:
        """The members of the JSON object, as the document's own schema_version has them."""
        members = asdict(self)
        if self.schema_version < 2:
            del members["replaces"]
        return members

    @classmethod
    def _read(cls, members: JsonObject) -> Pointer:
        if members.integer("schema_version") < 2:
            return members.only_fields_of(cls, without=("replaces",)).read(cls, replaces=None)
        return members.read(cls)

    def leads_where(self, other: Pointer) -> bool:
        """Both name the same manifest for the same target, whenever they were moved."""
        return (self.target, self.release_id, self.manifest_sha256) == (
            other.target,
            other.release_id,
            other.manifest_sha256,
        )


def pointer_path(target: str) -> str:
    """The name under which a target's pointer is signed: `targets/<target>/current.json`."""
    return f"targets/{check_name('target', target)}/current.json"
