from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat

import pytest

from infra.device.measuring.latency import MOST_WARM_UP_RUNS, is_stable, measure, measure_interleaved, warm_up


class _Clock:
    """Stands still but for the durations that the runs take, in milliseconds."""

    def __init__(self, durations_ms: Iterable[float]) -> None:
        self._durations_ms = iter(durations_ms)
        self._now_ns = 1_000_000_007

    def __call__(self) -> int:
        return self._now_ns

    def run_once(self) -> None:
        self._now_ns += int(next(self._durations_ms) * 1_000_000)


def test_measure_gives_exactly_the_scripted_durations() -> None:
    clock = _Clock([50.0, 20.0, 3.0, 1.5, 2.25])
    samples = measure(clock.run_once, warm_up=2, repeats=3, clock_ns=clock)
    assert samples.warm_up_ms == (50.0, 20.0)
    assert samples.samples_ms == (3.0, 1.5, 2.25)


def test_measure_goes_on_until_min_seconds_are_sampled() -> None:
    clock = _Clock([900.0, *[400.0] * 10])
    samples = measure(clock.run_once, warm_up=1, repeats=1, min_seconds=1.0, clock_ns=clock)
    assert samples.samples_ms == (400.0, 400.0, 400.0)


def test_measure_interleaved_takes_turns_in_an_order_of_each_round() -> None:
    order: list[str] = []
    clock = _Clock(range(1, 1000))

    def run(name: str) -> None:
        order.append(name)
        clock.run_once()

    runs = {name: (lambda name=name: run(name)) for name in "abc"}
    samples = measure_interleaved(runs, warm_up=1, rounds=60, clock_ns=clock)

    rounds = ["".join(order[first : first + 3]) for first in range(3, len(order), 3)]
    assert order[:3] == ["a", "b", "c"]
    assert len(rounds) == 60
    assert {"".join(sorted(one)) for one in rounds} == {"abc"}
    assert len(set(rounds)) == 6  # whoever comes before is not always the same
    assert samples["a"].warm_up_ms == (1.0,)
    of_rounds = zip(rounds, *(samples[name].samples_ms for name in "abc"), strict=True)
    for number, (one, *taken) in enumerate(of_rounds):
        assert taken == [4.0 + 3 * number + one.index(name) for name in "abc"]

    order.clear()
    measure_interleaved(runs, warm_up=1, rounds=60, clock_ns=clock)
    assert ["".join(order[first : first + 3]) for first in range(3, len(order), 3)] == rounds


def test_measure_lets_the_error_of_a_run_through() -> None:
    with pytest.raises(StopIteration):
        measure(_Clock([1.0]).run_once, warm_up=0, repeats=2)


def test_measure_interleaved_gives_nothing_when_there_is_nothing_to_time() -> None:
    assert measure_interleaved({}, warm_up=1, rounds=3) == {}


def test_warm_up_ends_where_the_last_two_medians_of_ten_agree() -> None:
    falling = [100.0 * 0.9**number for number in range(30)]  # to 4.7, every ten to a third
    clock = _Clock([*falling, *repeat(4.5, 100)])
    samples_ms = warm_up(clock.run_once, least=5, most_s=60, clock_ns=clock)
    assert is_stable(samples_ms)
    assert samples_ms[:30] == pytest.approx(falling, abs=1e-6)
    # Not before the median of the window before is at most 1.05 * 4.5, which only the last of the falling times is.
    assert len(samples_ms) == 30 + 10 + 4
    assert not is_stable(samples_ms[:-1])


def test_warm_up_overlooks_a_run_that_something_disturbed() -> None:
    clock = _Clock([*repeat(5.0, 12), 80.0, *repeat(5.0, 100)])
    samples_ms = warm_up(clock.run_once, least=5, most_s=60, clock_ns=clock)
    assert (len(samples_ms), is_stable(samples_ms)) == (20, True)


@pytest.mark.parametrize(
    ("most_s", "count"), [(10, 154), (1e9, MOST_WARM_UP_RUNS)], ids=["by its seconds", "by its count"]
)
def test_warm_up_of_a_network_that_never_settles_ends(most_s: float, count: int) -> None:
    clock = _Clock(10.0 * 1.02**number for number in range(600))  # 154 runs take 10.05 s, 153 take 9.84 s
    samples_ms = warm_up(clock.run_once, least=5, most_s=most_s, clock_ns=clock)
    assert (len(samples_ms), is_stable(samples_ms)) == (count, False)


def test_warm_up_takes_its_least_runs_however_long_they_take() -> None:
    clock = _Clock(repeat(5000.0, 100))
    assert warm_up(clock.run_once, least=30, most_s=1, clock_ns=clock) == 30 * (5000.0,)
