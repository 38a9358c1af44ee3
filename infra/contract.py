"""What the manifest, the pointer and the latency report share: canonical JSON, strict reading, safe names, time stamps.

Python 3.9 and the standard library only: this file ships with the edge agent.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from typing import Any, ClassVar, TypeVar

from infra.errors import ContractError

SCHEMA_VERSION = 1
MAX_TEXT = 2000  # characters; more than any writer of ours has to say

# Colons are left out so that a time stamp can stand in a key and in a file name; fixed width, so names sort by time.
_TIME_FORMAT = "%Y%m%dT%H%M%S.%fZ"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_HEXADECIMAL = re.compile(r"[0-9a-f]+")

_Document = TypeVar("_Document", bound="Document")


def canonical_json(value: object) -> bytes:
    """UTF-8 JSON with sorted keys and no white space: equal values give equal bytes.

    Raises:
        ContractError: the value holds what JSON cannot say (NaN, infinity, an object of another type).
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode("utf-8")
    except (TypeError, ValueError) as error:
        raise ContractError(f"cannot be written as JSON: {error}") from error


def utc_now() -> str:
    """The time now in UTC as a fixed-width text such as `20261122T063000.000000Z`."""
    return datetime.now(timezone.utc).strftime(_TIME_FORMAT)


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


def check_schema_version(where: str, value: int) -> None:
    """Refuses every version but the one that this code writes.

    Raises:
        ContractError: another version.
    """
    if value != SCHEMA_VERSION:
        raise ContractError(f"{where}.schema_version: got {value}, wanted {SCHEMA_VERSION}; update the older side")


def parse_json(data: bytes, where: str, *, max_bytes: int) -> JsonObject:
    """The JSON object in `data`, from whoever wrote it.

    Raises:
        ContractError: too large, not UTF-8, not JSON, a repeated key, NaN or infinity, half a surrogate pair, nested
            too deep, or no object.
    """
    if len(data) > max_bytes:
        raise ContractError(f"{where}: got {len(data)} bytes, wanted at most {max_bytes}")
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_without_repeats)
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # "\ud800" is JSON, and could not be written again
    except (ValueError, RecursionError) as error:
        raise ContractError(f"{where}: not JSON that can be read: {error}") from error
    return JsonObject(value, where)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return members


class JsonObject:
    """Typed access to the members of one JSON object; each miss is a ContractError with field, got and wanted."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise ContractError(f"{where}: got {_kind(value)}, wanted an object")
        self._members: dict[str, object] = value
        self._where = where

    def only_fields_of(self, dataclass_type: type[Any]) -> JsonObject:
        """This object, when it has no other members than the fields of a dataclass.

        Raises:
            ContractError: an unknown member; a new one needs a new schema_version.
        """
        names = [field.name for field in fields(dataclass_type)]
        unknown = sorted(set(self._members) - set(names))
        if unknown:
            raise ContractError(f"{self._where}: unknown fields {unknown[:5]}, wanted only {sorted(names)}")
        return self

    def text(self, name: str) -> str:
        """A string member of at most MAX_TEXT characters."""
        value = self._value(name)
        if not isinstance(value, str):
            raise self._wrong(name, "a string")
        return check_text(self._path(name), value)

    def integer(self, name: str) -> int:
        """An integer member; true and false are not integers."""
        value = self._value(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(name, "an integer")
        return value

    def number(self, name: str) -> float:
        """A finite number member."""
        return _finite(self._value(name), self._path(name))

    def numbers(self, name: str) -> tuple[float, ...]:
        """An array of finite numbers."""
        return tuple(_finite(item, f"{self._path(name)}[{index}]") for index, item in enumerate(self.array(name)))

    def integers(self, name: str) -> tuple[int, ...]:
        """An array of integers."""
        values = self.array(name)
        if not all(isinstance(item, int) and not isinstance(item, bool) for item in values):
            raise ContractError(f"{self._path(name)}: got other values than integers, wanted an array of integers")
        return tuple(item for item in values if isinstance(item, int))

    def array(self, name: str) -> list[object]:
        """An array member."""
        value = self._value(name)
        if not isinstance(value, list):
            raise self._wrong(name, "an array")
        return value

    def plain(self, name: str) -> dict[str, object]:
        """An object member as a plain dictionary."""
        return dict(self.nested(name)._members)

    def nested(self, name: str) -> JsonObject:
        """An object member, for typed access."""
        return JsonObject(self._value(name), self._path(name))

    def nested_list(self, name: str) -> list[JsonObject]:
        """An array of objects, for typed access."""
        return [JsonObject(item, f"{self._path(name)}[{index}]") for index, item in enumerate(self.array(name))]

    def nested_by_name(self, name: str) -> dict[str, JsonObject]:
        """An object whose members are all objects, for typed access."""
        inner = self.nested(name)
        return {key: inner.nested(key) for key in inner._members}

    def numbers_by_name(self, name: str) -> dict[str, float]:
        """An object whose members are all finite numbers."""
        inner = self.nested(name)
        return {key: inner.number(key) for key in inner._members}

    def is_null(self, name: str) -> bool:
        """The member stands there as null."""
        return self._value(name) is None

    def _value(self, name: str) -> object:
        if name not in self._members:
            raise ContractError(f"{self._path(name)}: missing")
        return self._members[name]

    def _path(self, name: str) -> str:
        return f"{self._where}.{name[:80]}"

    def _wrong(self, name: str, wanted: str) -> ContractError:
        return ContractError(f"{self._path(name)}: got {_kind(self._members[name])}, wanted {wanted}")


@dataclass(frozen=True)
class Document:
    """What is stored as one JSON object: a subclass adds the fields, and `_read`, which takes them from the JSON.

    Attributes:
        kind: what errors call the document.
        max_bytes: the most that is read of one.
    """

    kind: ClassVar[str]
    max_bytes: ClassVar[int]

    def to_json(self) -> bytes:
        """Canonical JSON that `from_json` reads back to an equal document."""
        return canonical_json(asdict(self))

    @classmethod
    def from_json(cls: type[_Document], data: bytes) -> _Document:
        """The document in `data`, from a writer who may be broken or hostile.

        Raises:
            ContractError: says field, got and wanted.
        """
        return cls._read(parse_json(data, cls.kind, max_bytes=cls.max_bytes).only_fields_of(cls))

    @classmethod
    def _read(cls: type[_Document], members: JsonObject) -> _Document:
        """The document in a JSON object that has no unknown members."""
        raise NotImplementedError


def check_finite(where: str, numbers: Mapping[str, float]) -> None:
    """Refuses NaN and infinity.

    Raises:
        ContractError: names the first such number.
    """
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise ContractError(f"{where}.{name}: got {value}, wanted a finite number")


def _finite(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ContractError(f"{where}: got {_kind(value)}, wanted a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ContractError(f"{where}: got a number beyond the range of a double, wanted a finite one")
    return number


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a truth value", type(None): "null"}
    return kinds.get(type(value), "a number")
