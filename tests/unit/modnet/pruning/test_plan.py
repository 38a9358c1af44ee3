"""A plan is a document: it replays to the identical network, and a damaged or foreign one is refused."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError

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
from modnet.errors import PruningError
from modnet.pruning.complexity import complexity
from modnet.pruning.criteria import Scores, score_groups
from modnet.pruning.gates import Removed
from modnet.pruning.plan import GroupPlan, PruningPlan, network_digest, plan_pruning
from modnet.pruning.stepwise import plan_in_steps
from modnet.pruning.surgery import apply_plan
from tests.unit.modnet.pruning.networks import NETWORKS, EncoderDecoder, random_network

HALF = PruningConfig(policy=UniformPolicy(ratio=0.5), channel_multiple=1, min_channels=1)


@pytest.fixture
def network() -> EncoderDecoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return EncoderDecoder()


@pytest.fixture
def text(network: EncoderDecoder) -> str:
    return plan_pruning(network, HALF).to_json()


def signed(content: dict[str, Any]) -> str:
    """The file that another version of the project could have written."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return json.dumps({"sha256": hashlib.sha256(canonical.encode()).hexdigest(), "plan": content})


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize(
    "policy",
    [
        AdaptivePolicy(),
        UniformPolicy(ratio=1 / 3),
        LayerRatiosPolicy(ratios=(LayerRatio(pattern="*", ratio=0.3),)),
        GlobalThresholdPolicy(share=0.4),
    ],
    ids=lambda policy: policy.kind,
)
def test_from_json_replays_to_the_identical_network(kind: str, policy: Any) -> None:
    network = random_network(kind, 1)
    plan = plan_pruning(network, PruningConfig(policy=policy, channel_multiple=1, min_channels=1))
    read = PruningPlan.from_json(plan.to_json())
    assert read == plan
    first, again = apply_plan(network, plan), apply_plan(network, read)
    assert first.state_dict().keys() == again.state_dict().keys()
    for name, tensor in first.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    assert network_digest(first) == network_digest(again)


def test_plan_pruning_gives_equal_plans_when_asked_twice(network: EncoderDecoder) -> None:
    assert plan_pruning(network, HALF) == plan_pruning(network, HALF)


def test_plan_pruning_says_what_it_was_made_from(network: EncoderDecoder) -> None:
    plan = plan_pruning(network, HALF)
    assert plan.config == HALF
    assert plan.network_sha256 == network_digest(network)
    assert plan.versions["torch"] == torch.__version__
    assert all(len(group.scores) == sum(group.parts) for group in plan.groups.values())


def test_plan_pruning_keeps_the_best_of_each_part() -> None:
    """A batch-norm channel never makes way for an instance-norm one, however much better that scores."""
    network = NETWORKS["modnet"]()
    scores = {
        group.name: torch.arange(group.channels, dtype=torch.float64)
        for group in network.channel_groups()
        if group.prunable
    }
    plan = plan_pruning(network, HALF, scores=scores)
    assert plan.groups["detail.hr4x.0"].parts == (8, 8)
    assert plan.groups["detail.hr4x.0"].kept == (4, 5, 6, 7, 12, 13, 14, 15)


@pytest.mark.parametrize(
    "policy",
    [UniformPolicy(ratio=0), UniformPolicy(ratio=0.5), BudgetPolicy(max_macs=10**12), BudgetPolicy(max_macs=10**8)],
    ids=lambda policy: policy.label,
)
def test_plan_pruning_drops_the_instance_norm_of_batch_only_layers_before_the_policy_takes_its_share(
    policy: Policy,
) -> None:
    network = NETWORKS["modnet"]()
    config = PruningConfig(policy=policy, channel_multiple=1, min_channels=1)
    plain = plan_pruning(network, config)
    plan = plan_pruning(network, config.model_copy(update={"batch_only": ("fusion.head_features", "detail.hr2x.*")}))
    dropped = [name for name, group in plan.groups.items() if len(group.widths) == 2 and group.widths[1] == 0]
    assert dropped == [f"detail.hr2x.{i}" for i in range(4)] + ["fusion.head_features"]
    for name in dropped:
        batch = plain.groups[name].parts[0]
        if policy.kind == "uniform":
            assert plan.groups[name].widths[0] == (batch if policy.ratio == 0 else batch // 2)
        assert set(plan.groups[name].kept) <= set(range(batch))
    compact = apply_plan(network, plan)
    assert complexity(compact).macs == plan.macs
    assert compact.spec.fusion_head.instance == 0


def test_plan_pruning_leaves_layers_alone_whose_instance_norm_has_gone() -> None:
    network = NETWORKS["modnet"]()
    config = PruningConfig(policy=UniformPolicy(ratio=0), batch_only=("fusion.*", "backbone.last"))
    compact = apply_plan(network, plan_pruning(network, config))
    again = plan_pruning(compact, config)
    assert all(group.widths == group.parts for group in again.groups.values())


@pytest.mark.parametrize("policy", [AdaptivePolicy(), GlobalThresholdPolicy(share=0.3)], ids=lambda policy: policy.kind)
def test_plan_in_steps_and_every_policy_keep_to_batch_only(policy: Policy) -> None:
    network = NETWORKS["modnet"]()
    config = PruningConfig(policy=policy, channel_multiple=1, min_channels=1, batch_only=("fusion.f2x",))
    seen: list[int] = []

    def look(removed: Removed) -> Scores:
        seen.append(int(removed["fusion.f2x"].sum()) if removed else 0)
        return score_groups(network, config)

    steps = 2 if policy.kind == "global-threshold" else 0
    plan = plan_in_steps(network, config, look, steps=steps) if steps else plan_pruning(network, config)
    assert plan.groups["fusion.f2x"].widths[1] == 0 < plan.groups["fusion.f2x"].widths[0]
    assert len(seen) == steps
    assert all(count >= plan.groups["fusion.f2x"].parts[1] for count in seen[1:])


def test_plan_pruning_keeps_the_instance_norm_of_excluded_layers() -> None:
    network = NETWORKS["modnet"]()
    plan = plan_pruning(network, HALF.model_copy(update={"batch_only": ("fusion.*",), "exclude": ("fusion.f2x",)}))
    assert plan.groups["fusion.f2x"].widths == plan.groups["fusion.f2x"].parts
    assert plan.groups["fusion.lr4x"].widths[1] == 0


def test_plan_pruning_raises_when_batch_only_names_nothing() -> None:
    with pytest.raises(PruningError, match="pattern 'fusion.head_feature' names no prunable group; did you mean"):
        plan_pruning(NETWORKS["modnet"](), HALF.model_copy(update={"batch_only": ("fusion.head_feature",)}))


def test_plan_pruning_keeps_the_first_of_equal_channels(network: EncoderDecoder) -> None:
    scores = {name: torch.ones(width, dtype=torch.float64) for name, width in network.FULL.items()}
    assert plan_pruning(network, HALF, scores=scores).groups["deep"].kept == (0, 1, 2, 3)


@pytest.mark.parametrize("share", [0, 0.3, 0.7, 0.99])
def test_from_json_raises_when_file_was_cut_off(text: str, share: float) -> None:
    with pytest.raises(PruningError, match=r"out/plan.json is not a pruning plan, or was cut off: JSONDecodeError"):
        PruningPlan.from_json(text[: int(share * len(text))], where="out/plan.json")


@pytest.mark.parametrize(
    "edit",
    [
        lambda plan: plan["groups"]["trunk"].update(kept=[0, 1]),
        lambda plan: plan["groups"]["trunk"]["scores"].__setitem__(0, 9.5),
        lambda plan: plan["groups"].pop("trunk"),
        lambda plan: plan.update(network_sha256=None),
        lambda plan: plan["config"].update(seed=1),
    ],
    ids=["kept", "score", "group", "network", "config"],
)
def test_from_json_raises_when_plan_was_edited(text: str, edit: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(text)
    edit(document["plan"])
    with pytest.raises(PruningError, match="the plan was changed after it was written"):
        PruningPlan.from_json(json.dumps(document))


def test_from_json_reads_plan_that_was_only_laid_out_differently(text: str) -> None:
    assert PruningPlan.from_json(json.dumps(json.loads(text), indent=2)) == PruningPlan.from_json(text)


def test_from_json_reads_plan_whose_config_lacks_a_later_default(text: str) -> None:
    """A field that the config gets tomorrow must not make today's plans look edited."""
    content = json.loads(text)["plan"]
    del content["config"]["taylor_images"]
    assert PruningPlan.from_json(signed(content)) == PruningPlan.from_json(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plan: plan.update(quantised=True), "quantised: Extra inputs are not permitted"),
        (lambda plan: plan["config"].update(policy={"kind": "evolve"}), r"config.policy: .*'evolve'"),
        (lambda plan: plan["groups"]["trunk"].update(kept=[0, 99]), "groups.trunk: .*0..99 are outside 0..5"),
        (lambda plan: plan["groups"]["trunk"].update(kept=[]), "the first part must keep a channel"),
        (lambda plan: plan["groups"]["trunk"].update(parts=[]), "groups.trunk.parts: "),
        (lambda plan: plan["groups"]["trunk"].update(kept=[1, 0]), "ascending and different"),
        (lambda plan: plan["groups"]["trunk"].update(scores=[1.0]), "got 1 scores, wanted none or 6"),
        (lambda plan: plan.update(network_sha256="abc"), "network_sha256: "),
        (lambda plan: plan.pop("groups"), "groups: Field required"),
    ],
    ids=[
        "unknown field",
        "unknown policy",
        "outside",
        "nothing kept",
        "no parts",
        "order",
        "scores",
        "digest",
        "no groups",
    ],
)
def test_from_json_raises_with_field_and_writer_when_plan_is_of_another_version(
    text: str, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    content = json.loads(text)["plan"]
    content["versions"] = {"modnet-edge": "99.0"}
    change(content)
    with pytest.raises(PruningError, match=rf"is not a pruning plan of modnet-edge .*{message}.*'99\.0'"):
        PruningPlan.from_json(signed(content))


@pytest.mark.parametrize(
    "text",
    ["[]", "null", '"plan"', '{"plan": {}}', '{"sha256": "0", "plan": 1}', "[" * 100_000, b"\xff\xfe"],
    ids=["list", "null", "string", "no digest", "no plan", "nested too deeply", "not text"],
)
def test_from_json_raises_when_text_is_no_plan(text: str | bytes) -> None:
    with pytest.raises(PruningError, match="is not a pruning plan, or was cut off"):
        PruningPlan.from_json(text)


def test_group_plan_raises_when_the_first_part_keeps_nothing() -> None:
    with pytest.raises(ValidationError, match=r"the first part must keep a channel, got \(0, 2\) of \(4, 4\)"):
        GroupPlan(parts=(4, 4), kept=(5, 6))


@pytest.mark.parametrize("criterion", ["l1", "l2", "geometric_median", "bn_scale"])
def test_plan_pruning_raises_when_weights_are_not_numbers(network: EncoderDecoder, criterion: str) -> None:
    with torch.no_grad():
        network.down.conv.weight[2, 0, 0, 0] = float("nan")
        network.down.norm.weight[2] = float("nan")
    with pytest.raises(PruningError, match="scores of group 'deep' are not finite: are there NaN in the weights"):
        plan_pruning(network, HALF.model_copy(update={"criterion": criterion}))


def test_plan_pruning_raises_when_scores_do_not_fit_the_groups(network: EncoderDecoder) -> None:
    scores = {name: torch.ones(width, dtype=torch.float64) for name, width in network.FULL.items()}
    with pytest.raises(PruningError, match=r"scores of group 'deep': got \(3,\), wanted \(8,\)"):
        plan_pruning(network, HALF, scores={**scores, "deep": torch.ones(3)})
    del scores["fine"]
    with pytest.raises(PruningError, match=r"scores of group 'fine': got None, wanted \(7,\)"):
        plan_pruning(network, HALF, scores=scores)


@pytest.mark.parametrize(
    "policy",
    [
        UniformPolicy(ratio=0.999),
        GlobalThresholdPolicy(share=0.999, floor=0.001),
        AdaptivePolicy(backbone_threshold=0.999, global_ratio=0.999),
        BudgetPolicy(max_parameters=400, floor=0.001),
    ],
    ids=lambda policy: policy.kind,
)
@pytest.mark.parametrize("kind", NETWORKS)
def test_plan_pruning_leaves_a_working_network_when_settings_leave_next_to_nothing(kind: str, policy: Any) -> None:
    """At least one channel of every part, and finite outputs."""
    network = random_network(kind, 2, torch.float32).eval()
    config = PruningConfig(policy=policy, channel_multiple=1, min_channels=1)
    if kind != "encoder-decoder" and isinstance(policy, BudgetPolicy):
        config = config.model_copy(update={"policy": policy.model_copy(update={"max_parameters": 1500})})
    compact = apply_plan(network, plan_pruning(network, config))
    with torch.no_grad():
        result = compact(torch.rand(1, 3, 64, 64))
    assert all(value.isfinite().all() for value in ((result,) if isinstance(result, torch.Tensor) else result))
