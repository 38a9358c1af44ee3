"""Counts worked out by hand, and what every policy offers."""

import importlib
import inspect
import itertools
import pkgutil

import pytest
from pydantic import ValidationError

from modnet import policies
from modnet.configs import (
    AdaptivePolicy,
    BudgetPolicy,
    GlobalThresholdPolicy,
    LayerRatio,
    LayerRatiosPolicy,
    PruningConfig,
    UniformPolicy,
)
from modnet.errors import PruningError
from modnet.network import ChannelGroup, Producer
from modnet.policies.adaptive import adaptive_count
from modnet.policies.cost import Cost
from modnet.policies.global_threshold import share_threshold
from modnet.policies.layer_ratios import matching
from modnet.policies.policy import AllowedWidths, PruningPolicy, SteppedPolicy, ratio_count, split_by_parts
from modnet.pruning.plan import plan_pruning
from tests.unit.modnet.pruning.networks import EncoderDecoder

ANY = AllowedWidths(multiple=1, minimum=1)
GROUPS = (
    ChannelGroup("stem", (8,), producers=(Producer("stem.conv"),), adaptive_rule="adaptive"),
    ChannelGroup("detail.enc2x", (4, 4), producers=(Producer("detail.enc2x.conv"),), adaptive_rule="ratio"),
    ChannelGroup("semantic.lr8x", (10,), producers=(Producer("semantic.lr8x.conv"),), adaptive_rule="keep"),
)
SCORES = {
    "stem": [0, 1, 2, 3, 4, 5, 6, 8],  # threshold 0.5: 4, 5, 6 and 8 reach it
    "detail.enc2x": range(10, 18),
    "semantic.lr8x": range(20, 30),
}


def test_every_policy_of_the_package_is_offered_under_its_kind() -> None:
    """One that is a file but not in `Policy` would be in no form, and on no command line."""
    files = pkgutil.iter_modules(policies.__path__)
    written = {
        one
        for file in files
        for one in vars(importlib.import_module(f"modnet.policies.{file.name}")).values()
        if inspect.isclass(one) and issubclass(one, PruningPolicy) and "kind" in one.model_fields
    }
    assert written == set(policies.POLICIES.values())
    assert all(kind == policy.model_fields["kind"].default for kind, policy in policies.POLICIES.items())


@pytest.mark.parametrize(
    "policy",
    [BudgetPolicy(max_macs=3_000, max_parameters=40), BudgetPolicy(max_macs=7), GlobalThresholdPolicy(share=0.6)],
    ids=lambda policy: policy.label,
)
def test_steps_towards_a_policy_end_at_it_and_ask_for_more_each_time(policy: SteppedPolicy) -> None:
    unpruned = Cost(parameters=90, macs=10_000)
    steps = [policy.on_the_way(step, 4, unpruned) for step in range(1, 5)]
    assert steps[-1] == policy == policy.of_step(1, 1, unpruned)
    if isinstance(policy, BudgetPolicy):
        budgets = [unpruned.macs, *(step.max_macs for step in steps)]
        factors = [budget / before for before, budget in itertools.pairwise(budgets)]
        assert factors == pytest.approx([factors[0]] * 4, abs=0.02)
    else:
        assert [step.share for step in steps] == pytest.approx([0.15, 0.3, 0.45, 0.6])


@pytest.mark.parametrize(
    ("scores", "threshold", "count"),
    [([0, 1, 2, 3, 4], 0.5, 3), ([0, 1, 2, 3, 4], 0.51, 2), ([0, 0, 0, 10], 0.5, 1), ([7, 7, 7], 0.9, 3)],
    ids=["reaches", "just misses", "one outlier", "all equal"],
)
def test_adaptive_count_counts_scores_that_reach_the_threshold(scores: list, threshold: float, count: int) -> None:
    assert adaptive_count(scores, threshold) == count


@pytest.mark.parametrize(
    ("channels", "ratio", "count"), [(32, 0.5, 16), (32, 0.3, 22), (10, 0.9, 1), (10, 0.7, 3), (1, 0.9, 1), (32, 0, 32)]
)
def test_ratio_count_is_floor_of_what_is_left(channels: int, ratio: float, count: int) -> None:
    assert ratio_count(channels, ratio) == count


@pytest.mark.parametrize(
    ("count", "rounded"), [(1, 8), (8, 8), (11, 16), (12, 16), (18, 24), (26, 24), (27, 32), (31, 32), (32, 32)]
)
def test_rounded_rounds_up_where_more_than_a_tenth_would_go(count: int, rounded: int) -> None:
    assert AllowedWidths(multiple=8, minimum=1).rounded(count, 32) == rounded


def test_rounded_keeps_to_minimum_and_to_what_there_is() -> None:
    assert AllowedWidths(multiple=4, minimum=16).rounded(3, 64) == 16
    assert AllowedWidths(multiple=8, minimum=8).rounded(10, 11) == 11


def test_rounded_gives_a_multiple_when_the_minimum_is_none() -> None:
    assert AllowedWidths(multiple=16, minimum=24).rounded(16, 64) == 32


@pytest.mark.parametrize(
    ("count", "parts", "widths"),
    [
        (16, (16, 16), (8, 8)),
        (9, (16, 16), (4, 5)),
        (1, (4, 4), (1, 1)),
        (5, (9,), (5,)),
        (7, (6, 2), (5, 2)),
        (3, (4, 0), (3, 0)),
    ],
)
def test_split_by_parts_shares_in_proportion(count: int, parts: tuple, widths: tuple) -> None:
    assert split_by_parts(count, parts) == widths


def test_allowed_widths_need_a_channel_of_each_part_that_has_any() -> None:
    allowed = AllowedWidths(multiple=1, minimum=1)
    both = ChannelGroup("both", (3, 2))
    assert allowed.from_floor(both, 0.1) == [2, 3, 4, 5]
    assert allowed.from_floor(both.first_part(), 0.1) == [1, 2, 3]


def test_split_by_parts_loses_no_channel_when_there_are_two_parts() -> None:
    for first in range(1, 12):
        for second in range(1, 12):
            for count in range(1, first + second + 1):
                widths = split_by_parts(count, (first, second))
                assert sum(widths) == max(2, count)
                assert 1 <= widths[0] <= first
                assert 1 <= widths[1] <= second


@pytest.mark.parametrize(
    ("threshold", "ratio", "counts"),
    [
        (0.5, 0.5, {"stem": 4, "detail.enc2x": 4}),
        (0.5, 0, {"stem": 4}),
        (0, 0.25, {"detail.enc2x": 6}),
        (0, 0, {}),
    ],
)
def test_adaptive_counts_follows_each_group_s_rule(threshold: float, ratio: float, counts: dict) -> None:
    policy = AdaptivePolicy(backbone_threshold=threshold, global_ratio=ratio)
    assert policy.counts(GROUPS, SCORES, ANY) == counts


def test_uniform_counts_takes_the_same_share_from_every_group() -> None:
    counts = UniformPolicy(ratio=0.3).counts(GROUPS, SCORES, ANY)
    assert counts == {"stem": 5, "detail.enc2x": 5, "semantic.lr8x": 7}


def test_uniform_counts_keeps_to_multiple_and_minimum() -> None:
    counts = UniformPolicy(ratio=0.7).counts(GROUPS, SCORES, AllowedWidths(multiple=2, minimum=4))
    assert counts == {"stem": 4, "detail.enc2x": 4, "semantic.lr8x": 4}


@pytest.mark.parametrize(
    ("ratios", "counts"),
    [
        ([("stem", 0.5)], {"stem": 4}),
        ([("*.lr8x", 0.5), ("detail.*", 0.25)], {"semantic.lr8x": 5, "detail.enc2x": 6}),
        ([("*", 0.5), ("stem", 0)], {"stem": 8, "detail.enc2x": 4, "semantic.lr8x": 5}),
        ([("detail.enc2x.conv", 0.5)], {"detail.enc2x": 4}),
    ],
    ids=["name", "patterns", "the last counts", "layer"],
)
def test_layer_ratio_counts_follows_patterns(ratios: list, counts: dict) -> None:
    policy = LayerRatiosPolicy(ratios=tuple(LayerRatio(pattern=pattern, ratio=ratio) for pattern, ratio in ratios))
    assert policy.counts(GROUPS, SCORES, ANY) == counts


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("detail.enc2", "did you mean detail.enc2x"),
        ("???", "`modnet inspect` lists the groups"),
        ("Stem", "did you mean stem"),
    ],
    ids=["misspelt", "nothing near", "case"],
)
def test_matching_raises_with_suggestion_when_pattern_names_nothing(pattern: str, hint: str) -> None:
    with pytest.raises(PruningError, match="names no prunable group; ") as caught:
        matching(GROUPS, pattern)
    assert repr(pattern) in str(caught.value)
    assert hint in str(caught.value)


def test_every_pattern_of_layer_ratios_must_name_something() -> None:
    """The first one fits; the second is refused all the same."""
    policy = LayerRatiosPolicy(ratios=(LayerRatio(pattern="stem", ratio=0.5), LayerRatio(pattern="sten", ratio=0.5)))
    with pytest.raises(PruningError, match="'sten' names no prunable group; did you mean stem"):
        policy.counts(GROUPS, SCORES, ANY)


@pytest.mark.parametrize("ratio", [-0.1, 1, 1.5, float("nan"), float("inf")])
@pytest.mark.parametrize(
    "policy",
    [
        lambda ratio: UniformPolicy(ratio=ratio),
        lambda ratio: LayerRatio(pattern="stem", ratio=ratio),
        lambda ratio: AdaptivePolicy(global_ratio=ratio),
        lambda ratio: AdaptivePolicy(backbone_threshold=ratio),
        lambda ratio: GlobalThresholdPolicy(share=ratio),
    ],
    ids=["uniform", "layer ratio", "global ratio", "backbone threshold", "share"],
)
def test_policies_raise_when_ratio_is_outside_zero_to_below_one(policy, ratio: float) -> None:
    with pytest.raises(ValidationError, match="less than 1|greater than or equal to 0"):
        policy(ratio)


def test_global_threshold_counts_takes_the_lowest_scores_of_all() -> None:
    """Of 26 channels half go: all 8 of the stem but its floor, and the 5 lowest of the next."""
    policy = GlobalThresholdPolicy(share=0.5, floor=0.25)
    assert policy.counts(GROUPS, SCORES, ANY) == {"stem": 2, "detail.enc2x": 3}


def test_global_threshold_counts_removes_nothing_when_share_is_zero() -> None:
    assert GlobalThresholdPolicy(share=0).counts(GROUPS, SCORES, ANY) == {}


def test_global_threshold_counts_keeps_floor_of_every_group_when_share_is_nearly_all() -> None:
    counts = GlobalThresholdPolicy(share=0.99, floor=0.5).counts(GROUPS, SCORES, ANY)
    assert counts == {"stem": 4, "detail.enc2x": 4, "semantic.lr8x": 5}


def test_global_threshold_counts_keeps_floor_when_widths_become_multiples() -> None:
    """Half of 34 channels are 17, which is nearer to 16 than to 24."""
    group, scores = ChannelGroup("one", (34,)), {"one": range(34)}
    allowed, policy = AllowedWidths(multiple=8, minimum=8), GlobalThresholdPolicy(share=0.9, floor=0.5)
    assert policy.counts([group], scores, allowed) == {"one": 24}


def test_share_threshold_removes_the_whole_number_of_channels_that_is_meant() -> None:
    """0.29 · 100 is 28.999… in binary fractions."""
    groups = (ChannelGroup("all", (100,)),)
    assert share_threshold(groups, {"all": range(100)}, 0.29) == 29


def test_plan_pruning_keeps_all_channels_of_excluded_groups() -> None:
    config = PruningConfig(
        policy=UniformPolicy(ratio=0.5), exclude=("trunk", "down.conv"), channel_multiple=1, min_channels=1
    )
    plan = plan_pruning(EncoderDecoder(), config)
    assert {name: len(group.kept) for name, group in plan.groups.items()} == {
        "trunk": 6,
        "inner": 2,
        "deep": 8,  # named by one of its layers
        "fine": 3,
    }


def test_plan_pruning_raises_when_exclusion_names_nothing() -> None:
    with pytest.raises(PruningError, match="'trunc' names no prunable group; did you mean trunk"):
        plan_pruning(EncoderDecoder(), PruningConfig(exclude=("trunc",)))
