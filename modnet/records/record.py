"""The base of all records, and the files that they speak of."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Record(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Base of all records."""

    def stored_files(self) -> tuple[StoredFile, ...]:
        """The objects in the store that the record speaks of, alone or by name; without them it is worth nothing."""
        values = (value for _, given in self for value in (given.values() if isinstance(given, dict) else (given,)))
        return tuple(value for value in values if isinstance(value, StoredFile))


class FileDigest(Record):
    """What the bytes of a file must be."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0)


class StoredFile(FileDigest):
    """An object in the store and what its bytes must be."""

    key: str

    def stored_files(self) -> tuple[StoredFile, ...]:
        return (self,)
