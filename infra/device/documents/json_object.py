"""One JSON object from whoever wrote it, read member by member; each miss says field, got and wanted."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Callable, TypeVar

from infra.device.documents.checks import check_text
from infra.device.errors import ContractError

_Kind = TypeVar("_Kind")


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
    """Typed access to the members of one JSON object; each miss is a ContractError with field, got and wanted.

    Attributes:
        where: what errors call the object.
    """

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise ContractError(f"{where}: got {_kind(value)}, wanted an object")
        self._members: dict[str, object] = value
        self.where = where

    def only_fields_of(
        self, dataclass_type: type[Any], earlier: Mapping[str, str] | None = None, without: Sequence[str] = ()
    ) -> JsonObject:
        """This object, when it has no other members than the fields of a dataclass.

        Args:
            dataclass_type: whose fields.
            earlier: field -> what an earlier version of the document called it.
            without: fields that an earlier version of the document did not have.

        Raises:
            ContractError: an unknown member; a new one needs a new schema_version.
        """
        names = [field.name for field in fields(dataclass_type) if field.name not in without]
        names = [(earlier or {}).get(name, name) for name in names]
        unknown = sorted(set(self._members) - set(names))
        if unknown:
            raise ContractError(f"{self.where}: unknown fields {unknown[:5]}, wanted only {sorted(names)}")
        return self

    def read(self, kind: type[_Kind], without: Sequence[str] = (), **read_already: object) -> _Kind:
        """A dataclass whose fields are the members of this object, each read as its type says.

        Args:
            kind: of a module with postponed annotations: the types of its fields are text.
            without: fields that an earlier version of the document did not have.
            **read_already: the members of other types than `_READ_AS` knows.

        Raises:
            ContractError: a member is missing, unknown, of another type, or refused by `kind`.
        """
        self.only_fields_of(kind, without=without)
        values = dict(read_already)
        for field in fields(kind):  # type: ignore[arg-type]  # no type says "class of a dataclass"
            if field.name not in values:
                type_text, may_be_null, _ = str(field.type).partition(" | None")
                is_null = may_be_null and self.is_null(field.name)
                values[field.name] = None if is_null else _READ_AS[type_text](self, field.name)
        return kind(**values)

    def text(self, name: str) -> str:
        """A string member of at most `checks.MAX_TEXT` characters."""
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

    def texts(self, name: str) -> tuple[str, ...]:
        """An array of strings, each of at most `checks.MAX_TEXT` characters."""
        where, values = self._path(name), self.array(name)
        for index, item in enumerate(values):
            if not isinstance(item, str):
                raise ContractError(f"{where}[{index}]: got {_kind(item)}, wanted a string")
            check_text(f"{where}[{index}]", item)
        return tuple(item for item in values if isinstance(item, str))

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
        return f"{self.where}.{name[:80]}"

    def _wrong(self, name: str, wanted: str) -> ContractError:
        return ContractError(f"{self._path(name)}: got {_kind(self._members[name])}, wanted {wanted}")


_READ_AS: dict[str, Callable[[JsonObject, str], object]] = {
    "str": JsonObject.text,
    "int": JsonObject.integer,
    "float": JsonObject.number,
    "tuple[int, ...]": JsonObject.integers,
    "tuple[str, ...]": JsonObject.texts,
    "tuple[float, ...]": JsonObject.numbers,
}


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
