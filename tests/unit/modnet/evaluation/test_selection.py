"""Who wins, who is on the front, and why the others lost."""

import pytest

from modnet.configs import ExportConfig, WinnerLimits
from modnet.errors import ConfigError
from modnet.evaluation.selection import choose_best, pareto_front, refused_by_runtimes, refused_targets
from modnet.records import (
    Challenge,
    Complexity,
    HostLatencies,
    ImageScore,
    LegacyCheck,
    NetworkScores,
    Scores,
)


def scores(
    name: str, tune_error: float, gmacs: float, *, val_mse: float = 0.5, parameters: int = 1_000_000
) -> NetworkScores:
    def on(split: str, value: float) -> Scores:
        image = ImageScore(stem="a", errors={"mse": value, "mad": value})
        return Scores(split=split, protocol="modelcompression", images=1, errors=image.errors, per_image=(image,))

    cost = Complexity(parameters=parameters, macs=int(gmacs * 1e9), size=512)
    tune, val = on("tune", tune_error), on("val", val_mse)
    return NetworkScores(
        network_id=name, input_shape="512x512", tune=tune, val=val, complexity=cost, size_bytes=1, seconds=0
    )


BASE = scores("base", 0.010, 15)
BIG, SMALL, BEATEN = scores("big", 0.0105, 9), scores("small", 0.014, 4), scores("beaten", 0.015, 5)
BOUND = "1.1 times the unpruned network's error"


def latencies(**p50_ms: float) -> HostLatencies:
    """As INT8, which decides; each network twice as slow in FP32."""
    samples = {name: {"cpu-int8": (ms,), "cpu-fp32": (2 * ms,)} for name, ms in p50_ms.items()}
    return HostLatencies(host="here", deciding_form="cpu-int8", samples_ms=samples)


LATENCIES = latencies(base=100, big=60, small=30, beaten=40)


def test_pareto_front_leaves_out_what_another_beats_in_both() -> None:
    front = pareto_front([BIG, BEATEN, SMALL], LATENCIES.deciding_ms)
    assert [one.network_id for one in front] == ["small", "big"]


def test_choose_best_takes_the_fastest_within_the_bound_and_names_the_numbers() -> None:
    close = scores("close", 0.0109, 8)
    choice = choose_best(BASE, [SMALL, BIG, close], WinnerLimits(), latencies(base=100, big=60, small=30, close=50))
    assert choice.winner == "close"
    assert choice.front == ("small", "close", "big")
    assert choice.reasons == {
        "close": f"the fastest within {BOUND}: "
        "cpu-int8 p50 50.0 ms, tune error 0.010900, 1.09 times the unpruned network's",
        "big": "slower: cpu-int8 p50 60.0 ms, tune error 0.010500, 1.05 times the unpruned network's",
        "small": f"errs more than {BOUND}: cpu-int8 p50 30.0 ms, tune error 0.014000, "
        "1.40 times the unpruned network's",
    }


def test_choose_best_takes_the_lowest_error_where_none_is_within_the_bound_and_says_so() -> None:
    choice = choose_best(BASE, [BEATEN, SMALL], WinnerLimits(), LATENCIES)
    assert choice.winner == "small"
    assert choice.reasons["small"].startswith(f"no candidate is within {BOUND}; this one errs least: cpu-int8 p50 30.0")
    assert choice.reasons["beaten"].startswith("errs more: cpu-int8 p50 40.0 ms")


def test_choose_best_counts_what_was_not_timed_as_slowest() -> None:
    timed = latencies(base=100, big=60)
    small = scores("small", 0.0100, 4)
    assert choose_best(BASE, [BIG, small], WinnerLimits(), timed).winner == "big"
    choice = choose_best(BASE, [small], WinnerLimits(), timed)
    assert choice.reasons["small"].startswith(f"the fastest within {BOUND}: not timed, tune error 0.010000")


@pytest.mark.parametrize(
    ("budget", "winner", "reason"),
    [
        (WinnerLimits(max_macs=5_000_000_000), "small", "too large: MACs 9e+09 (allowed 5e+09)"),
        (WinnerLimits(max_parameters=2_000_000), "big", f"the fastest within {BOUND}: cpu-int8 p50 60.0 ms"),
        (WinnerLimits(max_error_ratio=1.45), "small", "slower: cpu-int8 p50 60.0 ms"),
    ],
    ids=["macs", "wide enough", "another bound"],
)
def test_choose_best_keeps_to_the_budget(budget: WinnerLimits, winner: str, reason: str) -> None:
    choice = choose_best(BASE, [SMALL, BIG, BEATEN], budget, LATENCIES)
    assert choice.winner == winner
    assert choice.reasons["big"].startswith(reason)


def test_choose_best_never_looks_at_val() -> None:
    tempting = scores("tempting", 0.020, 9, val_mse=0.0)
    assert choose_best(BASE, [SMALL, tempting], WinnerLimits(), LATENCIES).winner == "small"


@pytest.mark.parametrize("candidates", [[BIG, SMALL], []], ids=["all too large", "none"])
def test_choose_best_raises_with_distances_when_all_are_too_large(candidates: list[NetworkScores]) -> None:
    with pytest.raises(ConfigError, match=r"no candidate can be released: .+"):
        choose_best(BASE, candidates, WinnerLimits(max_macs=1), LATENCIES)


def test_speedups_are_medians_of_ratios_within_rounds() -> None:
    samples = {
        "base": {"cpu-fp32": (100.0, 200.0, 90.0), "cpu-int8": (50.0, 100.0, 30.0)},
        "small": {"cpu-fp32": (50.0, 50.0, 30.0)},
    }
    timed = HostLatencies(host="here", deciding_form="cpu-int8", samples_ms=samples)
    assert timed.speedup("small", "cpu-fp32", "base") == 3.0
    assert timed.speedup("base", "cpu-int8", "base") == 2.0
    assert timed.speedup("small", "cpu-int8", "base") is None
    assert timed.deciding_ms == {"base": 50.0}


def challenge(*, mse: float = 0.01, ratio: tuple[float, float, float] = (1.0, 0.9, 1.1)) -> Challenge:
    middle, low, high = ratio
    return Challenge(
        target="cpu-int8",
        release_id="0" * 12,
        current_error=0.01,
        new_error=mse,
        latency_ratio=middle,
        low=low,
        high=high,
    )


def test_a_release_stays_where_the_new_network_errs_more_or_is_surely_slower() -> None:
    assert challenge().objections == ()
    assert challenge(ratio=(1.2, 0.99, 1.3)).objections == ()
    assert challenge(mse=0.0101).objections == ("the new network errs more: tune error 0.010100 against 0.010000",)
    slower = challenge(ratio=(1.2, 1.01, 1.3))
    assert slower.objections == ("the new network is slower: 1.20 times the latency of 000000000000 (1.01 to 1.30)",)
    assert slower.verdict.startswith("release 000000000000 stays: the new network is slower")
    broken = Challenge(target="cpu-int8", release_id="0" * 12, problem="its manifest is missing")
    assert (broken.objections, broken.verdict) == ((), "release 000000000000 cannot be used: its manifest is missing")


def test_refused_targets_names_forms_that_lost_too_much() -> None:
    refused = refused_targets(
        {"torch": 0.010, "cpu-fp32": 0.010, "cpu-int8": 0.0126}, ExportConfig(max_relative_error_increase=0.25)
    )
    assert refused == {"cpu-int8": "tune error 0.012600, allowed 0.012500 (torch 0.010000)"}


def test_choose_best_goes_on_with_the_next_when_the_best_is_refused() -> None:
    choice = choose_best(BASE, [SMALL, BIG, BEATEN], WinnerLimits(), LATENCIES, {"big": "alpha differs by 0.5"})
    assert choice.winner == "small"
    assert choice.reasons["big"] == "refused: alpha differs by 0.5"
    with pytest.raises(ConfigError, match="big: refused: it differs"):
        choose_best(BASE, [BIG], WinnerLimits(), LATENCIES, {"big": "it differs"})


def test_refused_by_runtimes_gives_their_words_and_lets_the_unasked_pass() -> None:
    passed = LegacyCheck(by="OpenVINO 2021.4.2", status="ok", mean_difference=1e-3)
    failed = LegacyCheck(by="compiler", status="failed", words="unsupported layer")
    unasked = LegacyCheck(by="compiler", status="not verified", words="not installed")
    assert refused_by_runtimes({"ncs2-fp16": (passed, failed)}) == {"ncs2-fp16": "compiler: unsupported layer"}
    assert refused_by_runtimes({"ncs2-fp16": (passed, unasked)}) == {}
