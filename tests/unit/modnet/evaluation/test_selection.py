"""Who wins, who is on the front, and why the others lost."""

import pytest

from modnet.configs import BudgetConfig, ExportConfig
from modnet.errors import ConfigError
from modnet.evaluation.selection import choose_best, pareto_front, refused_by_runtimes, refused_targets
from modnet.records import Complexity, ImageScore, LegacyCheck, MattingScores, NetworkScores


def scores(
    name: str, tune_mse: float, gmacs: float, *, val_mse: float = 0.5, parameters: int = 1_000_000
) -> NetworkScores:
    def on(split: str, value: float) -> MattingScores:
        image = ImageScore(stem="a", mse=value, mad=value)
        return MattingScores(split=split, protocol="seed", images=1, mse=value, mad=value, per_image=(image,))

    cost = Complexity(parameters=parameters, macs=int(gmacs * 1e9), size=512)
    tune, val = on("tune", tune_mse), on("val", val_mse)
    return NetworkScores(network_id=name, tune=tune, val=val, complexity=cost, size_bytes=1, seconds=0)


BASE = scores("base", 0.010, 15)
BIG, SMALL, BEATEN = scores("big", 0.011, 9), scores("small", 0.014, 4), scores("beaten", 0.015, 5)


def test_pareto_front_leaves_out_what_another_beats_in_both() -> None:
    assert [one.network_id for one in pareto_front([BIG, BEATEN, SMALL])] == ["small", "big"]


def test_choose_best_takes_lowest_tune_mse_when_there_is_no_budget() -> None:
    choice = choose_best(BASE, [SMALL, BIG, BEATEN], BudgetConfig())
    assert choice.winner == "big"
    assert choice.front == ("small", "big")
    assert choice.reasons == {
        "big": "lowest tune MSE within the budget: 0.011000",
        "small": "smaller, but tune MSE 0.014000 against 0.011000",
        "beaten": "small is at least as small and as accurate",
    }


@pytest.mark.parametrize(
    ("budget", "winner", "reason"),
    [
        (BudgetConfig(max_macs=5_000_000_000), "small", "over budget: MACs 9e+09 (allowed 5e+09)"),
        (BudgetConfig(max_parameters=2_000_000), "big", "lowest tune MSE within the budget: 0.011000"),
    ],
    ids=["macs", "wide enough"],
)
def test_choose_best_keeps_to_the_budget(budget: BudgetConfig, winner: str, reason: str) -> None:
    choice = choose_best(BASE, [SMALL, BIG, BEATEN], budget)
    assert choice.winner == winner
    assert choice.reasons["big"] == reason


def test_choose_best_never_looks_at_val() -> None:
    tempting = scores("tempting", 0.020, 9, val_mse=0.0)
    assert choose_best(BASE, [SMALL, tempting], BudgetConfig()).winner == "small"


@pytest.mark.parametrize("candidates", [[BIG, SMALL], []], ids=["all over", "none"])
def test_choose_best_raises_with_distances_when_nothing_is_within_the_budget(candidates: list[NetworkScores]) -> None:
    with pytest.raises(ConfigError, match=r"no candidate is within the budget: .+"):
        choose_best(BASE, candidates, BudgetConfig(max_mse_ratio=1.05))


def test_refused_targets_names_forms_that_lost_too_much() -> None:
    refused = refused_targets(
        {"torch": 0.010, "cpu-fp32": 0.010, "cpu-int8": 0.0126}, ExportConfig(max_relative_mse_increase=0.25)
    )
    assert refused == {"cpu-int8": "tune MSE 0.012600, allowed 0.012500 (torch 0.010000)"}


def test_choose_best_goes_on_with_the_next_when_the_best_is_refused() -> None:
    choice = choose_best(BASE, [SMALL, BIG, BEATEN], BudgetConfig(), {"big": "alpha differs by 0.5"})
    assert choice.winner == "small"
    assert choice.reasons["big"] == "refused: alpha differs by 0.5"
    with pytest.raises(ConfigError, match="big: refused: it differs"):
        choose_best(BASE, [BIG], BudgetConfig(), {"big": "it differs"})


def test_refused_by_runtimes_gives_their_words_and_lets_the_unasked_pass() -> None:
    passed = LegacyCheck(by="OpenVINO 2021.4.2", status="ok", mean_difference=1e-3)
    failed = LegacyCheck(by="compiler", status="failed", words="unsupported layer")
    unasked = LegacyCheck(by="compiler", status="not verified", words="not installed")
    assert refused_by_runtimes({"ncs2-fp16": (passed, failed)}) == {"ncs2-fp16": "compiler: unsupported layer"}
    assert refused_by_runtimes({"ncs2-fp16": (passed, unasked)}) == {}
