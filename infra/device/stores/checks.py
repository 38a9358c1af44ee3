"""What every object store checks alike: keys, prefixes, and the size of what is read."""

from __future__ import annotations

import re

from infra.device.errors import ContractError

# A part that starts with a dot is kept for FolderStore's own files and shuts out `.` and `..`.
_KEY_PART = re.compile(r"[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*")


def check_key(key: str) -> str:
    """The key itself when it is a relative path without empty parts and without parts that start with a dot.

    Raises:
        ContractError: it is not.
    """
    if len(key.encode("utf-8", "replace")) > 1024 or not all(_KEY_PART.fullmatch(part) for part in key.split("/")):
        raise ContractError(
            f"object key {key[:200]!r}: wanted a relative path of at most 1024 bytes, "
            "no part of it empty, starting with a dot, or with backslash or control characters"
        )
    return key


def check_prefix(prefix: str) -> str:
    """The prefix itself when it is empty or the start of a valid key.

    Raises:
        ContractError: it is not.
    """
    if prefix:
        check_key(prefix[:-1] if prefix.endswith("/") else prefix)
    return prefix


def check_size(where: str, size_bytes: int, max_bytes: int | None) -> None:
    """Refuses an object that is larger than its reader wants; `max_bytes` None is any size.

    Raises:
        ContractError: it is larger.
    """
    if max_bytes is not None and size_bytes > max_bytes:
        raise ContractError(f"{where}: has {size_bytes} bytes, wanted at most {max_bytes}")
