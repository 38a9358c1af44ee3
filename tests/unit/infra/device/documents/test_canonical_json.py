from __future__ import annotations

import pytest

from infra.device.documents.canonical_json import canonical_json
from infra.device.errors import ContractError


def test_canonical_json_is_equal_for_equal_values_in_another_order() -> None:
    assert canonical_json({"b": [1, 2.5], "a": "é"}) == '{"a":"é","b":[1,2.5]}'.encode()
    assert canonical_json({"a": 1, "b": 2}) == canonical_json({"b": 2, "a": 1})


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), {1, 2}, "\ud800"], ids=["nan", "inf", "set", "surrogate"]
)
def test_canonical_json_refuses_what_json_cannot_say(value: object) -> None:
    with pytest.raises(ContractError):
        canonical_json({"a": value})
