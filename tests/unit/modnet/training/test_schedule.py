"""The learning rate rises, falls and ends near zero."""

import doctest

import pytest

from modnet.training import schedule


def test_cosine_with_warm_up_doctest_holds() -> None:
    assert doctest.testmod(schedule).failed == 0


def test_cosine_with_warm_up_rises_then_falls() -> None:
    factors = [schedule.cosine_with_warm_up(step / 100) for step in range(100)]
    peak = factors.index(max(factors))
    assert max(factors) == pytest.approx(1)
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert 0 < factors[-1] < 0.01
