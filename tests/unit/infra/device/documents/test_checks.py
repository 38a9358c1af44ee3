from __future__ import annotations

import pytest

from infra.device.documents import checks
from infra.device.errors import ContractError


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-a", "a b", "a\n", "ä", "x" * 129])
def test_check_name_refuses_what_cannot_stand_in_a_key(name: str) -> None:
    with pytest.raises(ContractError):
        checks.check_name("device", name)


def test_check_time_accepts_the_time_now() -> None:
    now = checks.utc_now()
    assert checks.check_time("at", now) == now


@pytest.mark.parametrize("value", ["", "2026-11-22T06:30:00Z", "20261322T063000.000000Z", "20261122T063000.0Z"])
def test_check_time_refuses_other_forms(value: str) -> None:
    with pytest.raises(ContractError, match="at"):
        checks.check_time("at", value)
