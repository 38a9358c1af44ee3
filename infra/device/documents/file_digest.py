"""What the bytes of a file must be: how many, and their SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from infra.device.documents.checks import check_sha256
from infra.device.errors import ContractError, DigestMismatchError

CHUNK_BYTES = 1 << 20


def chunks_of(file: IO[bytes]) -> Iterator[bytes]:
    """The rest of a file, in parts of at most CHUNK_BYTES."""
    return iter(lambda: file.read(CHUNK_BYTES), b"")


@dataclass(frozen=True)
class FileDigest:
    """SHA-256 in hexadecimal, and size, of a file or an object."""

    sha256: str
    size_bytes: int

    def __post_init__(self) -> None:
        check_sha256("sha256", self.sha256)
        if self.size_bytes < 0:
            raise ContractError(f"size_bytes: got {self.size_bytes}, wanted 0 or more")

    @classmethod
    def of(cls, path: Path) -> FileDigest:
        """The digest of a file as it is."""
        with open(path, "rb") as file:
            return cls.of_chunks(chunks_of(file))

    @classmethod
    def of_chunks(cls, chunks: Iterable[bytes]) -> FileDigest:
        """The digest of content that comes in parts."""
        digest, size_bytes = hashlib.sha256(), 0
        for chunk in chunks:
            digest.update(chunk)
            size_bytes += len(chunk)
        return cls(digest.hexdigest(), size_bytes)

    def check(self, what: str, found: FileDigest) -> None:
        """Refuses other bytes than these.

        Raises:
            DigestMismatchError: says what, got and wanted.
        """
        if found.size_bytes != self.size_bytes:
            raise DigestMismatchError(f"{what}: got {found.size_bytes} bytes, wanted {self.size_bytes}")
        if found.sha256 != self.sha256:
            raise DigestMismatchError(f"{what}: got SHA-256 {found.sha256}, wanted {self.sha256}")
