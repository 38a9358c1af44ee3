"""Taylor scores come from the fit split's first images; latencies from every network in turn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from modnet.configs import LatencyPolicy, PruningConfig
from modnet.data.archives import extract_archive
from modnet.pruning.plan import plan_pruning
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.portraits import Portraits
from modnet.workloads.matting.workload import MATTING
from tasks.pruning_evidence import needs_evidence, scores_for

TAYLOR = PruningConfig(criterion="taylor", taylor_images=1)


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> Portraits:
    folder = tmp_path_factory.mktemp("portraits")
    archive = write_synthetic_archive(folder / "portraits.zip", train=6, val=1, size=(96, 80), seed=0)
    return Portraits(extract_archive(archive, folder / "extracted"))


@pytest.fixture(scope="module")
def network() -> MODNet:
    torch.manual_seed(0)
    return MODNet(ModnetSpec.tiny()).eval()


def test_scores_for_gives_scores_that_a_plan_takes_when_criterion_is_taylor(
    network: MODNet, portraits: Portraits
) -> None:
    scores = scores_for(network, TAYLOR, MATTING, portraits)
    assert plan_pruning(network, TAYLOR, scores=scores).groups.keys() == scores.keys()


def test_scores_for_reads_as_many_images_as_the_config_says(network: MODNet, portraits: Portraits) -> None:
    one, two = (
        scores_for(network, TAYLOR.model_copy(update={"taylor_images": count}), MATTING, portraits) for count in (1, 2)
    )
    assert any(not torch.equal(one[name], two[name]) for name in one)


def test_scores_for_opens_nothing_when_weights_decide(network: MODNet, portraits: Portraits) -> None:
    assert scores_for(network, PruningConfig(), MATTING, Portraits(Path("/nowhere"), portraits.index)) is None


@pytest.mark.parametrize(
    ("config", "needs"),
    [(PruningConfig(), False), (TAYLOR, True), (PruningConfig(policy=LatencyPolicy(max_ms=10)), True)],
    ids=["l1", "taylor", "latency"],
)
def test_needs_evidence_when_images_or_latencies_decide(config: PruningConfig, needs: bool) -> None:
    assert needs_evidence(config) is needs
