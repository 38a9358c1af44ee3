"""Sparse training pulls the right scales, separates channels, and pruning by scale takes those that went to zero."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Self

import pytest
import torch
from torch import Tensor, nn

from modnet.configs import GlobalThresholdPolicy, PruningConfig, SparsityConfig, TrainingConfig
from modnet.data.archives import extract_archive
from modnet.errors import ConfigError
from modnet.network import ChannelGroup, Producer, PrunableNetwork
from modnet.pruning.plan import plan_pruning
from modnet.records import ScaleDistribution
from modnet.training.retrain import retrain
from modnet.training.slimming import (
    SCALE_BINS,
    add_penalty,
    matching_norms,
    prunable_scales,
    scale_distribution,
    strength_at,
)
from modnet.workloads.matting.data.dataset import MattingDataset
from modnet.workloads.matting.data.indexing import index_dataset
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.workload import MATTING


@pytest.mark.parametrize(
    ("schedule", "strengths"),
    [("constant", [0.1, 0.1, 0.1, 0.1]), ("ramp", [0.0, 0.025, 0.05, 0.075]), ("ramp-decay", [0.0, 0.05, 0.1, 0.05])],
    ids=str,
)
def test_strength_at_follows_its_schedule(schedule: str, strengths: list[float]) -> None:
    config = SparsityConfig(strength=0.1, schedule=schedule)
    assert [strength_at(config, progress) for progress in (0.0, 0.25, 0.5, 0.75)] == pytest.approx(strengths)


def parameters(*values: float) -> list[nn.Parameter]:
    return [nn.Parameter(torch.tensor(values))]


def test_add_penalty_adds_the_sign_of_each_scale_to_its_gradient() -> None:
    (gamma,) = scales = parameters(2.0, -0.5, 0.0)
    gamma.grad = torch.tensor([1.0, 1.0, 1.0])
    add_penalty(scales, 0.25)
    assert gamma.grad.tolist() == [1.25, 0.75, 1.0]


class TwoNorms(PrunableNetwork):
    """One group that may be pruned and one that may not, each behind a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 1, 1)
        self.free, self.fixed = nn.BatchNorm2d(4), nn.BatchNorm2d(1)

    def forward(self, image: Tensor) -> Tensor:
        return self.fixed(self.last(self.free(self.first(image))))

    def channel_groups(self) -> tuple[ChannelGroup, ...]:
        return (
            ChannelGroup("features", (4,), (Producer("first", "free"),)),
            ChannelGroup("output", (1,), (Producer("last", "fixed"),), prunable=False),
        )

    def deployed(self) -> nn.Module:
        return self

    def resized(self, widths: Mapping[str, tuple[int, ...]]) -> Self:
        raise NotImplementedError


def test_prunable_scales_are_those_behind_the_layers_of_prunable_groups() -> None:
    network = TwoNorms()
    assert list(prunable_scales(network)) == ["free"]
    assert prunable_scales(network)["free"] is network.free.weight


def test_prunable_scales_of_modnet_are_all_that_it_has() -> None:
    network = MODNet(ModnetSpec.tiny())
    norms = [module.weight for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert sorted(map(id, prunable_scales(network).values())) == sorted(map(id, norms))


def test_scale_distribution_equals_a_hand_count() -> None:
    (first,), (second,) = parameters(0.0, 1e-5, -1.5e-4), parameters(-1.2, 30.0)
    distribution = scale_distribution({"first": first, "second": second})
    filled = {index: count for index, count in enumerate(distribution.counts) if count}
    assert filled == {0: 3, 16: 1, 19: 1}  # 1.2 lies between 10^0 and 10^0.25, the outermost bins take the rest
    assert distribution.quintiles == pytest.approx((8e-6, 9.4e-5, 0.480090, 6.96, 30.0), rel=1e-3)
    assert math.isclose(SCALE_BINS[0], 1e-4)
    assert math.isclose(SCALE_BINS[-1], 10)
    assert len(distribution.counts) == len(SCALE_BINS) - 1 == 20


def test_scale_distribution_tells_each_norm_by_itself() -> None:
    (first,), (second,) = parameters(0.0, 1e-5, -1.5e-4), parameters(-1.2, 30.0)
    norms = scale_distribution({"first": first, "second": second}).norms
    assert [sum(one.counts) for one in norms.values()] == [3, 2]
    assert norms["second"] == scale_distribution({"second": second}).model_copy(update={"norms": {}})
    assert norms["first"].quintiles[-1] == pytest.approx(1.5e-4)


def test_scale_distribution_of_an_earlier_version_still_reads() -> None:
    assert ScaleDistribution.model_validate_json('{"counts": [1], "quintiles": [1.0]}').norms == {}


def test_matching_norms_are_the_first_and_those_that_are_named() -> None:
    names = ["stem.norm", "blocks.0.norm", "blocks.1.norm", "last.norm"]
    assert matching_norms(names, []) == ["stem.norm"]
    assert matching_norms(names, ["last.norm", "blocks.*"]) == names
    with pytest.raises(ConfigError, match="'lost.norm' names no norm that sparse training pulls; such are last.norm"):
        matching_norms(names, ["last.norm", "lost.norm"])


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> MattingDataset:
    folder = tmp_path_factory.mktemp("portraits")
    archive = write_synthetic_archive(folder / "synthetic.zip", train=8, val=1, size=(96, 80), seed=1)
    extracted = extract_archive(archive, folder / "extracted")
    return MattingDataset(extracted, index_dataset(extracted).split("fit"), size=64, seed=3)


CONFIG = TrainingConfig(epochs=60, batch_size=4, image_size=64, learning_rate=5e-2, precision="fp32")
SMALL = 0.05


def trained(portraits: MattingDataset, sparsity: SparsityConfig | None) -> MODNet:
    torch.manual_seed(0)
    network = MODNet(ModnetSpec.tiny())
    retrain(network, portraits, CONFIG.model_copy(update={"sparsity": sparsity}), workload=MATTING, seed=0)
    return network


@pytest.mark.slow
def test_global_threshold_removes_the_scales_that_sparse_training_made_small(portraits: MattingDataset) -> None:
    plain, sparse = trained(portraits, None), trained(portraits, SparsityConfig(strength=3e-2))

    def small(network: MODNet) -> float:
        return float((torch.cat(list(prunable_scales(network).values())).abs() < SMALL).double().mean())

    assert small(plain) < 0.02
    assert small(sparse) > 0.4

    config = PruningConfig(
        policy=GlobalThresholdPolicy(share=0.3, floor=0.01),
        criterion="bn_scale",
        aggregate="max",
        channel_multiple=1,
        min_channels=1,
    )
    removed = plan_pruning(sparse, config).removed()
    gone = torch.cat(
        [
            sparse.get_submodule(producer.norm).weight.detach().abs()[removed[group.name][: group.parts[0]]]
            for group in sparse.channel_groups()
            if group.prunable
            for producer in group.producers
            if producer.norm is not None
        ]
    )
    assert len(gone) > 50
    assert float((gone < SMALL).double().mean()) > 0.9
