"""Sensitivities of groups: computing only what changes gives what the whole masked network gives."""

import pytest
import torch
from torch import Tensor

from modnet.configs import LayerRatio, LayerRatiosPolicy, PruningConfig
from modnet.errors import ConfigError, PruningError
from modnet.network import PrunableNetwork
from modnet.pruning.criteria import Batch, score_groups
from modnet.pruning.gates import gated
from modnet.pruning.plan import plan_pruning
from modnet.pruning.sensitivity import RecordedImage, analysed_groups, closed_gates
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from tests.unit.modnet.pruning.networks import NETWORKS, random_images, random_network

RATIOS = (0.1, 0.4, 0.9)


def squared_difference(network: PrunableNetwork, batch: Batch) -> Tensor:
    image, wanted = batch
    return (network.deployed()(image) - wanted).square().flatten(start_dim=1).mean(dim=1)


def labelled_image(network: PrunableNetwork) -> tuple[Tensor, Tensor]:
    image = random_images(1, next(network.parameters()).dtype)[:1]
    with torch.no_grad():
        return image, network.deployed()(image) + 0.1


@pytest.mark.parametrize("kind", NETWORKS)
def test_errors_equal_those_of_the_whole_masked_network(kind: str) -> None:
    network = random_network(kind, seed=5, dtype=torch.float32).eval()
    batch = labelled_image(network)
    image = RecordedImage(network, batch, squared_difference)
    scores = score_groups(network, PruningConfig())
    for group in analysed_groups(network):
        factors = closed_gates(group, scores[group.name], RATIOS)
        found = image.errors(group.name, factors)
        for row, error in zip(factors, found, strict=True):
            with torch.no_grad(), gated(network, {group.name: row}):
                assert error == pytest.approx(float(squared_difference(network, batch)), rel=0, abs=1e-6), group.name


def test_errors_compute_nothing_anew_before_the_group() -> None:
    network = random_network("modnet", seed=5, dtype=torch.float32).eval()
    group = next(group for group in network.channel_groups() if group.name == "detail.hr2x.2")
    outputs: list[Tensor] = []
    image = RecordedImage(network, labelled_image(network), squared_difference)
    for path in ("semantic.lr8x.conv", "detail.hr2x.2.conv", "detail.hr2x.3.conv"):
        network.get_submodule(path).register_forward_hook(lambda module, inputs, output: outputs.append(output))
    for _ in range(2):
        image.errors(group.name, torch.zeros(1, group.channels))
    first, again = outputs[:3], outputs[3:]
    assert [one is other for one, other in zip(first, again, strict=True)] == [True, True, False]


def test_baseline_is_the_intact_networks_error_and_that_of_open_gates() -> None:
    network = random_network("encoder-decoder", seed=2).eval()
    image = RecordedImage(network, labelled_image(network), squared_difference)
    assert image.baseline == pytest.approx(0.01)
    assert image.errors("trunk", torch.ones(1, network.widths["trunk"])) == [pytest.approx(image.baseline)]


def test_recorded_image_raises_when_network_is_in_training_mode() -> None:
    network = random_network("encoder-decoder", seed=2).train()
    with pytest.raises(ConfigError, match="training mode"):
        RecordedImage(network, (random_images(0)[:1], torch.zeros(1)), squared_difference)


def test_recorded_image_raises_when_batch_has_several_images() -> None:
    network = random_network("encoder-decoder", seed=2).eval()
    with pytest.raises(ConfigError, match="2 images, wanted one"):
        RecordedImage(network, (random_images(0), torch.zeros(1)), squared_difference)


def test_errors_raise_when_they_are_not_finite() -> None:
    network = random_network("encoder-decoder", seed=2).eval()
    image = RecordedImage(network, labelled_image(network), squared_difference)
    with pytest.raises(PruningError, match="sensitivity of group 'trunk'"):
        image.errors("trunk", torch.full((1, network.widths["trunk"]), float("nan")))


@pytest.mark.parametrize("ratio", RATIOS)
def test_closed_gates_close_what_a_plan_of_this_ratio_removes(ratio: float) -> None:
    network = MODNet(ModnetSpec.tiny())
    scores = score_groups(network, PruningConfig())
    policy = LayerRatiosPolicy(ratios=(LayerRatio(pattern="*", ratio=ratio),))
    plan = plan_pruning(network, PruningConfig(policy=policy, channel_multiple=1, min_channels=1))
    for group in analysed_groups(network):
        (factors,) = closed_gates(group, scores[group.name], [ratio])
        assert torch.equal(factors == 0, plan.removed()[group.name]), group.name


def test_analysed_groups_leave_out_what_is_excluded_fixed_or_not_deployed() -> None:
    network = MODNet(ModnetSpec.tiny())
    names = {group.name for group in analysed_groups(network, exclude=["backbone.*"])}
    assert "fusion.f2x" in names
    assert "detail.head_features" not in names  # only training runs it
    assert not names & {"image", "fusion.head"}
    assert not any(name.startswith("backbone.") for name in names)


def test_analysed_groups_raises_when_a_pattern_names_nothing() -> None:
    with pytest.raises(PruningError, match="'fusion.f3x' names no prunable group"):
        analysed_groups(MODNet(ModnetSpec.tiny()), exclude=["fusion.f3x"])
