"""What an enrolled device is given: where releases are, by what key, and whose signatures count there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from infra.device.documents.checks import check_name
from infra.device.documents.document import Document
from infra.device.errors import ContractError

ROOT_DIGITS = 32
SECRET_DIGITS = 32
"""A token is a secret, then the start of the SHA-256 of root.json, both hexadecimal: 128 bits each."""
_PIECE = 1000
MOST_TARGETS = 64
_PRINTED = ("store", "key_id", "secret")


@dataclass(frozen=True)
class Grant(Document):
    """The ingest's answer to a token.

    Attributes:
        device: its name.
        store: URL, as `s3://bucket`.
        endpoint: of the S3 server; None is AWS's own.
        region: of the store; None is boto3's choice.
        key_id: public name of the device's key.
        secret: of that key.
        targets: what the device measures.
        root_pieces: the text of root.json, cut into pieces.
    """

    kind: ClassVar[str] = "grant"
    newest: ClassVar[int] = 1
    max_bytes: ClassVar[int] = 1 << 16

    device: str
    store: str
    endpoint: str | None
    region: str | None
    key_id: str
    secret: str
    targets: tuple[str, ...]
    root_pieces: tuple[str, ...]
    schema_version: int = newest

    def __post_init__(self) -> None:
        self.check_schema_version(self.schema_version)
        check_name("grant.device", self.device)
        if not 0 < len(self.targets) <= MOST_TARGETS or len(set(self.targets)) != len(self.targets):
            raise ContractError(f"grant.targets: got {list(self.targets)[:8]}, wanted 1 to {MOST_TARGETS}, each once")
        for target in self.targets:
            check_name("grant.targets", target)
        for name in (*_PRINTED, *(name for name in ("endpoint", "region") if getattr(self, name) is not None)):
            value = getattr(self, name)
            if not (value and value.isascii() and value.isprintable() and " " not in value):
                raise ContractError(f"grant.{name}: got {value[:80]!r}, wanted ASCII characters without blanks")

    @property
    def root(self) -> bytes:
        """The content of root.json."""
        return "".join(self.root_pieces).encode()


def pieces(root: bytes) -> tuple[str, ...]:
    """The text of root.json in pieces that a document can hold."""
    text = root.decode()
    return tuple(text[start : start + _PIECE] for start in range(0, len(text), _PIECE))
