"""What manifest, pointer and latency report have in common: one JSON object with a version of its own.

A reader takes every version up to its own and refuses later ones. A new, renamed or removed field is a new version.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar, TypeVar

from infra.device.documents.canonical_json import canonical_json
from infra.device.documents.json_object import JsonObject, parse_json
from infra.device.errors import ContractError, LaterVersionError

_Document = TypeVar("_Document", bound="Document")


@dataclass(frozen=True)
class Document:
    """A subclass adds the fields, the last of them `schema_version`, and `_read` where their types do not say it all.

    Attributes:
        kind: what errors call the document.
        newest: the schema_version that is written; every earlier one, from 1 on, is read.
        max_bytes: the most that is read of one.
    """

    kind: ClassVar[str]
    newest: ClassVar[int]
    max_bytes: ClassVar[int]

    def to_json(self) -> bytes:
        """Canonical JSON that `from_json` reads back to an equal document."""
        return canonical_json(self.members())

    def members(self) -> dict[str, object]:
        """The members of the JSON object, as the document's own schema_version has them."""
        return asdict(self)

    @classmethod
    def from_json(cls: type[_Document], data: bytes) -> _Document:
        """The document in `data`, from a writer who may be broken, hostile or of an earlier version.

        Raises:
            ContractError: says field, got and wanted; of a later version it says so before anything else.
        """
        members = parse_json(data, cls.kind, max_bytes=cls.max_bytes)
        cls.check_schema_version(members.integer("schema_version"))
        return cls._read(members)

    @classmethod
    def check_schema_version(cls, version: int) -> None:
        """Refuses a version that this code cannot read.

        Raises:
            LaterVersionError: it is above `newest`.
            ContractError: it is below 1.
        """
        if version > cls.newest:
            raise LaterVersionError(
                f"{cls.kind}.schema_version: got {version}, wanted at most {cls.newest}; "
                "its writer is newer than its reader: update the reader"
            )
        if version < 1:
            raise ContractError(f"{cls.kind}.schema_version: got {version}, wanted 1 to {cls.newest}")

    @classmethod
    def _read(cls: type[_Document], members: JsonObject) -> _Document:
        """The document in a JSON object of a version that is read; refuses unknown members."""
        return members.read(cls)
