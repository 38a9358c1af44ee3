"""What a plan says of itself where it is not what was asked; every figure counted by hand."""

from collections.abc import Mapping, Sequence

import pytest

from modnet.configs import (
    AdaptivePolicy,
    BudgetPolicy,
    GlobalThresholdPolicy,
    LayerRatio,
    LayerRatiosPolicy,
    Policy,
    PruningConfig,
    UniformPolicy,
)
from modnet.network import ChannelGroup
from modnet.policies.cost import CostModel
from modnet.policies.policy import AllowedWidths, Decision, Prunable, ScoreLists
from modnet.pruning.plan import PruningPlan, plan_pruning
from modnet.pruning.remarks import remarks_on
from tests.unit.modnet.pruning.networks import NETWORKS

GROUPS = (ChannelGroup("low", (4,)), ChannelGroup("high", (16,)))
SCORES = {"low": range(4), "high": range(4, 20)}
MODNET = NETWORKS["modnet"]()


def config(policy: Policy, multiple: int = 1, least: int = 1) -> PruningConfig:
    return PruningConfig(policy=policy, channel_multiple=multiple, min_channels=least)


def remarks(
    groups: Sequence[ChannelGroup],
    scores: ScoreLists,
    config: PruningConfig,
    asked: Mapping[str, int],
    counts: Mapping[str, int],
) -> tuple[str, ...]:
    """Of a network whose cost nobody asks for."""
    allowed = AllowedWidths(config.channel_multiple, config.min_channels)
    return remarks_on(Prunable(groups, scores, allowed, CostModel({}, ())), config, Decision(counts, asked))


def test_remarks_on_a_global_threshold_say_what_was_asked_what_went_the_limit_and_what_stopped_it() -> None:
    """Of 20 channels 16 shall go: all 4 of `low`, which keeps half by its floor, and 12 of `high`, which keeps 8."""
    asked, counts = {"low": 0, "high": 4}, {"low": 2, "high": 8}
    assert remarks(GROUPS, SCORES, config(GlobalThresholdPolicy(share=0.8, floor=0.5)), asked, counts) == (
        "80.0% of 20 channels were asked to go, 50.0% went; at most 50.0% can with floor 0.5, min_channels 1, "
        "channel_multiple 1; without these low would be empty beyond 15.0%",
        "floor 0.5 stopped 2 groups: high keeps 8 (asked 4), low keeps 2 (asked 0)",
    )


def test_remarks_on_a_global_threshold_tell_its_limit_also_when_all_went_as_asked() -> None:
    asked, counts = {"low": 4, "high": 16}, {}
    (only,) = remarks(GROUPS, SCORES, config(GlobalThresholdPolicy(share=0, floor=0.25)), asked, counts)
    assert only.startswith("0.0% of 20 channels were asked to go, 0.0% went; at most 75.0% can with floor 0.25")


@pytest.mark.parametrize(
    ("counts", "least", "stopped"),
    [
        ({"low": 4, "high": 8}, 8, "min_channels 8 stopped 2 groups: high keeps 8 (asked 4), low keeps 4 (asked 1)"),
        ({"low": 1, "high": 8}, 1, None),  # by the multiple alone
        ({"low": 2, "high": 4}, 2, "min_channels 2 stopped 1 group: low keeps 2 (asked 1)"),
    ],
    ids=["minimum", "multiple", "one group"],
)
def test_remarks_on_ratios_say_what_stopped_them(counts: dict, least: int, stopped: str | None) -> None:
    asked = {"low": 1, "high": 4}
    shares, *rest = remarks(GROUPS, SCORES, config(UniformPolicy(ratio=0.75), least=least), asked, counts)
    went = 1 - sum(counts.values()) / 20
    assert shares == f"75.0% of 20 channels were asked to go, {went:.1%} went"
    assert rest == ([] if stopped is None else [stopped])


def test_remarks_on_say_nothing_when_all_went_as_asked() -> None:
    counts = {"low": 1, "high": 4}
    assert remarks(GROUPS, SCORES, config(UniformPolicy(ratio=0.75)), counts, counts) == ()


def test_remarks_on_name_the_groups_that_were_stopped_most_and_count_the_others() -> None:
    groups = [ChannelGroup(f"group{number}", (20,)) for number in range(11)]
    scores = {group.name: [1.0] * 20 for group in groups}
    asked = {group.name: number for number, group in enumerate(groups)}
    counts = dict.fromkeys(asked, 12)
    _, stops = remarks(groups, scores, config(UniformPolicy(ratio=0.5), least=12), asked, counts)
    assert stops.startswith("min_channels 12 stopped 11 groups: group0 keeps 12 (asked 0), group1 keeps 12 (asked 1)")
    assert stops.endswith("group7 keeps 12 (asked 7) and 3 more, see the plan")


@pytest.mark.parametrize(
    "policy",
    [
        AdaptivePolicy(backbone_threshold=0.9, global_ratio=0.9),
        UniformPolicy(ratio=0.95),
        LayerRatiosPolicy(ratios=(LayerRatio(pattern="fusion.*", ratio=0.95),)),
        GlobalThresholdPolicy(share=0.95),
    ],
    ids=lambda policy: policy.kind,
)
def test_plan_pruning_says_so_when_a_policy_gets_less_than_it_asked(policy: Policy) -> None:
    plan = plan_pruning(MODNET, config(policy, least=8))
    shares, stops = plan.remarks
    assert "were asked to go" in shares
    assert stops.startswith("min_channels 8 stopped ")
    for name, group in plan.groups.items():
        assert group.asked is not None
        assert len(group.kept) >= min(group.asked, 8, sum(group.parts)), name
    assert PruningPlan.from_json(plan.to_json()) == plan


def test_plan_pruning_says_so_when_nothing_had_to_go() -> None:
    plan = plan_pruning(MODNET, config(BudgetPolicy(max_macs=10**12)))
    assert plan.remarks == ("nothing was removed: the network is within 1e+03 GMAC as it is",)


def test_plan_pruning_says_so_when_everything_is_excluded() -> None:
    everything = PruningConfig(policy=UniformPolicy(), exclude=("*",))
    assert plan_pruning(MODNET, everything).remarks == ("nothing was removed: every group is excluded",)


def test_plan_pruning_says_so_when_a_pattern_of_batch_only_takes_nothing_away() -> None:
    asked = config(UniformPolicy(ratio=0)).model_copy(update={"batch_only": ("backbone.stem", "fusion.f2x")})
    (remark,) = plan_pruning(MODNET, asked).remarks
    assert remark == "batch_only 'backbone.stem' changed nothing: what it names has no instance norm, or is excluded"
