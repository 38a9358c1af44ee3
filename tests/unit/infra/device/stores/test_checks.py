from __future__ import annotations

import pytest

from infra.device.errors import ContractError
from infra.device.stores.checks import check_key, check_prefix, check_size


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/../b", ".hidden", "a\\b", "a\nb", "a\0", "x" * 1025]
)
def test_check_key_refuses_what_is_no_safe_relative_path(key: str) -> None:
    with pytest.raises(ContractError):
        check_key(key)


@pytest.mark.parametrize("prefix", ["", "a", "a/", "a/b"])
def test_check_prefix_gives_what_a_key_may_start_with(prefix: str) -> None:
    assert check_prefix(prefix) == prefix


@pytest.mark.parametrize("prefix", ["/", "a//", "../", ".hidden"])
def test_check_prefix_refuses_what_starts_no_key(prefix: str) -> None:
    with pytest.raises(ContractError):
        check_prefix(prefix)


def test_check_size_refuses_more_than_is_wanted() -> None:
    check_size("a", 4, None)
    check_size("a", 4, 4)
    with pytest.raises(ContractError, match="a: has 5 bytes, wanted at most 4"):
        check_size("a", 5, 4)
