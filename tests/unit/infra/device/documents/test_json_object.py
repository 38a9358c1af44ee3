from __future__ import annotations

from dataclasses import dataclass

import pytest

from infra.device.documents.json_object import JsonObject, parse_json
from infra.device.errors import ContractError


def _parse(text: bytes) -> JsonObject:
    return parse_json(text, "thing", max_bytes=10_000)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b'{"a": 1',
        b'{"a": 1}x',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1, "a": 2}',
        b"\xff\xfe",
        b"[" * 9_000,
        b"[1]",
        b'"text"',
        b'{"a": ' + b"9" * 9_000 + b"}",
        b'{"a": "' + b"x" * 10_000 + b'"}',
        rb'{"a": [{"b": "\ud800"}]}',
        rb'{"\ud800": 1}',
    ],
    ids=[
        *("empty", "cut", "trailing", "nan", "inf", "repeat", "utf16", "deep", "array", "string", "digits", "large"),
        *("half a pair", "half a pair as key"),
    ],
)
def test_parse_json_refuses_what_is_no_safe_object(data: bytes) -> None:
    with pytest.raises(ContractError, match="thing"):
        _parse(data)


@pytest.mark.parametrize(
    ("method", "json_value"),
    [
        ("text", b"1"),
        ("text", b'"' + 2001 * b"x" + b'"'),
        ("integer", b"1.0"),
        ("integer", b"true"),
        ("number", b'"1"'),
        ("number", b"false"),
        ("number", b"1e999"),
        ("number", b"1" + b"0" * 400),
        ("numbers", b"[1, null]"),
        ("numbers", b"{}"),
        ("integers", b"[1, 2.0]"),
        ("array", b'"ab"'),
        ("nested", b"[]"),
        ("nested_list", b"[1]"),
        ("nested_by_name", b'{"x": 1}'),
        ("numbers_by_name", b'{"x": "1"}'),
        ("plain", b"null"),
    ],
)
def test_json_object_names_the_field_when_its_type_is_wrong(method: str, json_value: bytes) -> None:
    parsed = _parse(b'{"field": ' + json_value + b"}")
    with pytest.raises(ContractError, match=r"thing\.field.*wanted"):
        getattr(parsed, method)("field")


def test_json_object_names_the_field_when_it_is_missing() -> None:
    with pytest.raises(ContractError, match=r"thing\.absent: missing"):
        _parse(b"{}").text("absent")


def test_only_fields_of_refuses_unknown_fields() -> None:
    @dataclass
    class Known:
        a: int

    assert _parse(b'{"a": 1}').only_fields_of(Known).integer("a") == 1
    with pytest.raises(ContractError, match=r"surprise.*\['a'\]"):
        _parse(b'{"a": 1, "surprise": 2}').only_fields_of(Known)


def test_json_object_reads_each_kind() -> None:
    parsed = _parse(b'{"t": "x", "i": 3, "n": 2, "l": [1, 2.5], "o": {"n": 1}, "z": null}')
    assert parsed.text("t") == "x"
    assert _parse(rb'{"t": "\ud83d\ude00' + 1999 * b"x" + b'"}').text("t") == "😀" + 1999 * "x"
    assert parsed.integer("i") == 3
    assert parsed.number("n") == 2.0
    assert parsed.numbers("l") == (1.0, 2.5)
    assert parsed.numbers_by_name("o") == {"n": 1.0}
    assert parsed.is_null("z")
    assert not parsed.is_null("t")
