"""Files that version 0.1.0 wrote are read: a plan, the checkpoint it was made for, the published pruner's JSON.

The folder `of_0_1_0` holds what its commands wrote, byte for byte:

    modnet prune --checkpoint unpruned.safetensors --policy target --max-macs 150M --channel-multiple 1 \
        --min-channels 1 --out .
    modnet prune --checkpoint shipped --policy seed --backbone-threshold 0.01 \
        --global-ratio 0.25 --out .
"""

from pathlib import Path

import pytest
from pydantic import ValidationError

from modnet.configs import BudgetPolicy, PruningConfig
from modnet.pruning.complexity import complexity
from modnet.pruning.plan import PruningPlan, plan_pruning
from modnet.pruning.surgery import apply_plan
from modnet.records import DatasetRecord, EpochReport
from modnet.workloads import workload_named
from modnet.workloads.matting.checkpoint import load
from modnet.workloads.matting.published.modelcompression import prune_like_modelcompression
from modnet.workloads.matting.published.modelcompression_info import require_agreement
from modnet.workloads.matting.weights import SHIPPED_BASE
from modnet.workloads.matting.workload import MATTING
from tasks.configs.compress import CompressConfig

FOLDER = Path(__file__).parent / "of_0_1_0"


@pytest.fixture(scope="module")
def plan() -> PruningPlan:
    return PruningPlan.from_json((FOLDER / "plan.json").read_bytes())


def test_a_plan_that_calls_its_budget_a_target_is_read_as_a_budget(plan: PruningPlan) -> None:
    assert plan.config is not None
    assert plan.config.policy == BudgetPolicy(max_macs=150_000_000)
    assert PruningPlan.from_json(plan.to_json()) == plan
    assert '"kind": "budget"' in plan.to_json()


def test_a_plan_leaves_of_its_checkpoint_what_it_left_then_and_is_made_again_to_the_last_score(
    plan: PruningPlan,
) -> None:
    network = load(FOLDER / "unpruned.safetensors")
    compact = complexity(apply_plan(network, plan))
    assert (compact.parameters, compact.macs) == (23_276, 148_464_128)
    assert plan.config is not None
    assert plan_pruning(network, plan.config).groups == plan.groups


def test_a_prune_info_of_the_published_pruner_is_read_and_written_as_it_was() -> None:
    pruned = prune_like_modelcompression(load(SHIPPED_BASE), threshold=0.01, ratio=0.25)
    require_agreement(pruned.network.spec, FOLDER / "prune_info.json")
    assert pruned.prune_info() == (FOLDER / "prune_info.json").read_text()


@pytest.mark.parametrize("kind", ["target", "budget"])
def test_a_config_is_read_by_the_word_of_then_and_by_that_of_now(kind: str) -> None:
    config = PruningConfig.model_validate({"policy": {"kind": kind, "max_macs": 5}})
    assert config.policy == BudgetPolicy(max_macs=5)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"budget": {"max_mse_ratio": 1.2}}, "budget is called winner_limits now"),
        ({"winner_limits": {"max_mse_ratio": 1.2}}, "max_mse_ratio is called max_error_ratio now"),
        ({"export": {"size": 384}}, "size is called input_shape now"),
        ({"export": {"max_alpha_difference": 0.1}}, "max_alpha_difference is called max_output_difference now"),
        (
            {"export": {"max_relative_mse_increase": 0}},
            "max_relative_mse_increase is called max_relative_error_increase",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_run_s_config_of_then_is_refused_with_the_name_of_now(config: dict, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        CompressConfig.model_validate(config)


def test_a_data_set_of_then_does_not_say_its_workload_and_is_of_the_only_one_there_was() -> None:
    archive = {"key": "archive.zip", "sha256": "0" * 64, "size_bytes": 1}
    counts = {"fit": 3, "tune": 2, "val": 1}
    record = DatasetRecord.model_validate(
        {"dataset_id": "d", "archive": archive, "source": "synthetic", "is_synthetic": True, **counts}
    )
    assert workload_named(record.workload) is MATTING


def test_an_epoch_of_then_is_read() -> None:
    assert EpochReport.model_validate({"losses": {}, "learning_rate": 1, "tune_mse": 0.5}).tune_error == 0.5
