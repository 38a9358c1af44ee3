"""Scores worked out by hand, and Taylor's against the difference that a gate makes."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from modnet.configs import PruningConfig
from modnet.errors import PruningError
from modnet.network import Producer, PrunableNetwork
from modnet.pruning.criteria import Batch, bn_scale, geometric_median, l1, l2, score_groups, taylor
from modnet.pruning.gates import gated
from tests.unit.modnet.pruning.networks import EncoderDecoder, random_images


def layer(filters: Sequence[Sequence[float]]) -> nn.Module:
    """A network of one convolution, `conv`, with these filters of 1×n weights."""
    weight = torch.tensor(filters)[:, None, None]
    conv = nn.Conv2d(1, len(filters), weight.shape[2:])
    conv.weight = nn.Parameter(weight)
    return nn.ModuleDict({"conv": conv})


def mean_square(network: PrunableNetwork, batch: Batch) -> Tensor:
    """One loss per image."""
    values: Tensor = network(batch[0])
    return values.square().mean(dim=(1, 2, 3))


@pytest.fixture
def network() -> EncoderDecoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return EncoderDecoder().double().eval()


@pytest.mark.parametrize(
    ("criterion", "filters", "scores"),
    [
        (l1, [[3, -4], [5, 0], [0, 0]], [7 / 4, 5 / 4, 0]),  # 7, 5, 0 in units of their mean 4
        (l2, [[3, -4], [4, 0], [0, 0]], [5 / 3, 4 / 3, 0]),  # 5, 4, 0 of mean 3
        (geometric_median, [[0.0], [1.0], [5.0]], [6 / (20 / 3), 5 / (20 / 3), 9 / (20 / 3)]),  # 1 + 5, 1 + 4, 5 + 4
        (l1, [[0.0, 0.0], [0.0, 0.0]], [0, 0]),
        (geometric_median, [[2.0], [2.0]], [0, 0]),
    ],
    ids=["l1", "l2", "geometric median", "all zero", "all the same"],
)
def test_criterion_equals_scores_worked_out_by_hand(criterion, filters: list, scores: list) -> None:
    model = layer([[float(weight) for weight in one] for one in filters])
    assert criterion(model, Producer("conv")).tolist() == pytest.approx(scores)


def test_bn_scale_is_absolute_gamma() -> None:
    model = layer([[3.0], [1.0]])
    model["norm"] = nn.BatchNorm2d(2)
    model["norm"].weight = nn.Parameter(torch.tensor([-0.5, 2.0]))
    assert bn_scale(model, Producer("conv", "norm")).tolist() == [0.5, 2]


def test_bn_scale_is_filter_norm_when_norm_holds_only_first_channels() -> None:
    model = layer([[3.0], [1.0], [2.0]])  # mean 2
    model["norm"] = nn.BatchNorm2d(1)
    model["norm"].weight = nn.Parameter(torch.tensor([0.25]))
    assert bn_scale(model, Producer("conv", "norm")).tolist() == [0.25, 0.5, 1]


def test_bn_scale_is_filter_norm_when_there_is_no_norm() -> None:
    assert bn_scale(layer([[3.0], [1.0]]), Producer("conv")).tolist() == [1.5, 0.5]


@pytest.mark.parametrize(
    ("aggregate", "scores"), [("sum", [7, 7, 7, 7, 7, 8]), ("mean", [3.5] * 5 + [4]), ("max", [6, 5, 4, 4, 5, 6])]
)
def test_score_groups_brings_all_members_together(network: EncoderDecoder, aggregate: str, scores: list) -> None:
    with torch.no_grad():
        network.stem.norm.weight.copy_(torch.tensor([1.0, 2, 3, 4, 5, 6]))
        network.leave.norm.weight.copy_(torch.tensor([6.0, 5, 4, 3, 2, 2]))
    assert score_groups(network, PruningConfig(criterion="bn_scale", aggregate=aggregate))["trunk"].tolist() == scores


@pytest.mark.parametrize("criterion", ["l1", "l2", "geometric_median", "bn_scale", "random"])
def test_score_groups_scores_every_prunable_channel(network: EncoderDecoder, criterion: str) -> None:
    scores = score_groups(network, PruningConfig(criterion=criterion))
    assert {name: len(score) for name, score in scores.items()} == dict(network.FULL)
    assert all(score.dtype == torch.float64 and score.min() >= 0 for score in scores.values())


def test_score_groups_lets_layers_of_different_size_count_the_same(network: EncoderDecoder) -> None:
    """A depthwise filter has 9 weights here, the filter before it 54; ten times larger weights change nothing."""
    config = PruningConfig(criterion="l1")
    before = score_groups(network, config)["deep"]
    with torch.no_grad():
        network.down.conv.weight *= 10
    torch.testing.assert_close(score_groups(network, config)["deep"], before)


def test_score_groups_at_random_depends_on_seed_and_group_alone(network: EncoderDecoder) -> None:
    def random(model: EncoderDecoder, seed: int) -> dict:
        return dict(score_groups(model, PruningConfig(criterion="random", seed=seed)))

    first = random(network, 1)
    torch.manual_seed(99)
    again = random(EncoderDecoder(), 1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["trunk"], random(network, 2)["trunk"])
    assert not torch.equal(first["trunk"][:5], first["inner"])


def test_score_groups_raises_when_criterion_looks_at_images(network: EncoderDecoder) -> None:
    with pytest.raises(PruningError, match="criterion 'taylor' looks at images, and none were given"):
        score_groups(network, PruningConfig(criterion="taylor"))


def loss_differences(
    network: EncoderDecoder, images: Tensor, name: str, closed: dict[str, Tensor], step: float
) -> Tensor:
    """(B, channels): by how much each image's loss changes when one gate of a group closes a little, per unit."""
    columns = []
    for channel in range(network.widths[name]):
        losses = []
        for factor in (1 + step, 1 - step):
            gates = {group: (~gone).double() for group, gone in closed.items()}
            gates.setdefault(name, torch.ones(network.widths[name], dtype=torch.float64))[channel] *= factor
            with torch.no_grad(), gated(network, gates):
                losses.append(mean_square(network, [images]))
        columns.append((losses[0] - losses[1]) / (2 * step))
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize("name", EncoderDecoder.FULL)
def test_taylor_equals_squared_finite_differences(network: EncoderDecoder, name: str) -> None:
    images = random_images(0)
    wanted = loss_differences(network, images, name, {}, 1e-6).square().mean(dim=0)
    torch.testing.assert_close(taylor(network, [[images]], mean_square)[name], wanted, rtol=1e-4, atol=0)


def test_taylor_looks_at_what_is_left_when_channels_have_gone(network: EncoderDecoder) -> None:
    images = random_images(0)
    removed = {"trunk": torch.tensor([True, False, False, True, False, False])}
    wanted = loss_differences(network, images, "trunk", removed, 1e-6).square().mean(dim=0)
    got = taylor(network, [[images]], mean_square, removed)["trunk"]
    assert got[removed["trunk"]].tolist() == [0, 0]
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=0)


def test_taylor_is_the_same_whatever_the_batches(network: EncoderDecoder) -> None:
    images = torch.cat((random_images(0), random_images(2)))
    at_once = taylor(network, [[images]], mean_square)
    one_by_one = taylor(network, [[image[None]] for image in images], mean_square)
    for name, scores in at_once.items():
        torch.testing.assert_close(one_by_one[name], scores, rtol=1e-9, atol=0)


def test_taylor_scores_zero_when_loss_does_not_depend_on_channels(network: EncoderDecoder) -> None:
    with torch.no_grad():
        network.head.weight[:, 3] = 0
    assert taylor(network, [[random_images(0)]], mean_square)["fine"][3] == 0


def test_taylor_leaves_no_gradient_behind(network: EncoderDecoder) -> None:
    taylor(network, [[random_images(0)]], mean_square)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_taylor_raises_when_there_are_no_images(network: EncoderDecoder) -> None:
    with pytest.raises(PruningError, match="no images given"):
        taylor(network, [], mean_square)


def test_taylor_raises_when_loss_is_not_finite(network: EncoderDecoder) -> None:
    with pytest.raises(PruningError, match=r"the loss of image 0 and following is \[nan, nan\]"):
        taylor(network, [[random_images(0) * float("nan")]], mean_square)
