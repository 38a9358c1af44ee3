"""What a value in a document may be: names that can stand in keys, digests, time stamps, text, finite numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime, timezone

from infra.device.errors import ContractError

MAX_TEXT = 2000  # characters; more than any writer of ours has to say

# Colons are left out so that a time stamp can stand in a key and in a file name; fixed width, so names sort by time.
_TIME_FORMAT = "%Y%m%dT%H%M%S.%fZ"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_HEXADECIMAL = re.compile(r"[0-9a-f]+")


def utc_now() -> str:
    """The time now in UTC as a fixed-width text such as `20261122T063000.000000Z`."""
    return time_text(datetime.now(timezone.utc))


def time_text(time: datetime) -> str:
    """A time in UTC in the form of `utc_now`."""
    return time.strftime(_TIME_FORMAT)


def time_of(text: str) -> datetime:
    """The time in UTC that `utc_now` has written."""
    return datetime.strptime(text, _TIME_FORMAT).replace(tzinfo=timezone.utc)


def check_time(where: str, value: str) -> str:
    """The value itself when it is a time stamp in the form of `utc_now`.

    Raises:
        ContractError: it is not.
    """
    try:
        parsed = datetime.strptime(value, _TIME_FORMAT)
    except ValueError:
        parsed = None
    if parsed is None or parsed.strftime(_TIME_FORMAT) != value:
        raise ContractError(f"{where}: got {value[:80]!r}, wanted a UTC time such as 20261122T063000.000000Z")
    return value


def check_name(where: str, value: str) -> str:
    """The value itself when it can stand as one part of a key: letters, digits, `.`, `_`, `-`; at most 128.

    Raises:
        ContractError: it cannot.
    """
    if not _NAME.fullmatch(value):
        wanted = "1 to 128 of A-Z a-z 0-9 . _ -, the first a letter or digit"
        raise ContractError(f"{where}: got {value[:80]!r}, wanted {wanted}")
    return value


def check_text(where: str, value: str) -> str:
    """The value itself when it has at most MAX_TEXT characters.

    Raises:
        ContractError: it has more.
    """
    if len(value) > MAX_TEXT:
        raise ContractError(f"{where}: got {len(value)} characters, wanted at most {MAX_TEXT}")
    return value


def check_sha256(where: str, value: str) -> str:
    """The value itself when it is a SHA-256 digest in lower-case hexadecimal.

    Raises:
        ContractError: it is not.
    """
    return _check_hexadecimal(where, value, digits=64)


def check_release_id(where: str, value: str) -> str:
    """The value itself when it is a release id: 12 lower-case hexadecimal digits.

    Raises:
        ContractError: it is not.
    """
    return _check_hexadecimal(where, value, digits=12)


def _check_hexadecimal(where: str, value: str, *, digits: int) -> str:
    if len(value) != digits or not _HEXADECIMAL.fullmatch(value):
        raise ContractError(f"{where}: got {value[:80]!r}, wanted {digits} lower-case hexadecimal digits")
    return value


def check_finite(where: str, numbers: Mapping[str, float]) -> None:
    """Refuses NaN and infinity.

    Raises:
        ContractError: names the first such number.
    """
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise ContractError(f"{where}.{name}: got {value}, wanted a finite number")
