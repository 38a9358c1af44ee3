"""Our tensors under ModelCompression's names and back; what ModelCompression's layout cannot say is refused."""

import pytest
import torch

from modnet.errors import CheckpointError
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec, SplitWidth
from modnet.workloads.matting.published.layout import (
    is_modelcompression_layout,
    modelcompression_state,
    our_state,
    spec_from_shapes,
)


@pytest.fixture(scope="module")
def network() -> MODNet:
    return MODNet(ModnetSpec.full())


def without_skip(spec: ModnetSpec, index: int) -> ModnetSpec:
    blocks = list(spec.blocks)
    blocks[index] = blocks[index].model_copy(update={"residual": False})
    return spec.model_copy(update={"blocks": tuple(blocks)})


def test_modelcompression_state_has_the_recorded_names_shapes_and_order_when_unpruned(
    network: MODNet, recordings
) -> None:
    recorded = recordings.read("seed_visible.json")["base"]["keys"]
    state = modelcompression_state(network)
    assert [(f"module.{name}", list(tensor.shape)) for name, tensor in state.items()] == list(recorded.items())


@pytest.mark.parametrize("case", range(3))
def test_modelcompression_state_has_the_recorded_names_shapes_and_order_when_pruned(recordings, case: int) -> None:
    recorded = recordings.read("seed_visible.json")["cases"][case]["keys"]
    published = {name: torch.zeros(shape) for name, shape in recorded.items()}
    state = modelcompression_state(MODNet(spec_from_shapes(our_state(published, "it"), "it")))
    assert [(name, list(tensor.shape)) for name, tensor in state.items()] == list(recorded.items())


@pytest.mark.parametrize("prefix", ["", "module."], ids=["pruner's", "trainer's"])
def test_our_state_gives_back_every_tensor_when_modelcompression_state_wrote_it(network: MODNet, prefix: str) -> None:
    published = {f"{prefix}{name}": tensor for name, tensor in modelcompression_state(network).items()}
    assert is_modelcompression_layout(published)
    state = our_state(published, "it")
    assert state.keys() == network.state_dict().keys()
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in state.items())


def test_modelcompression_state_holds_one_tensor_under_both_names_of_the_backbone(network: MODNet) -> None:
    state = modelcompression_state(network)
    name = "backbone.model.features.18.cbr.0.weight"
    assert state[name].data_ptr() == state[f"lr_branch.{name}"].data_ptr()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ModnetSpec.tiny(), "17 blocks"),
        (without_skip(ModnetSpec.full(), 2), "a skip wherever"),
        (
            ModnetSpec.full().model_copy(update={"f2x": SplitWidth(batch=15, instance=17)}),
            "fusion.f2x gives 15 of 32",
        ),
        (
            ModnetSpec.full().model_copy(update={"f2x": SplitWidth(batch=0, instance=32)}),
            "fusion.f2x gives 0 of 32",
        ),
    ],
    ids=["other blocks", "skip left out", "other split", "no batch norm"],
)
def test_modelcompression_state_raises_when_modelcompression_would_build_another_network(
    spec: ModnetSpec, message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        modelcompression_state(MODNet(spec))


def test_our_state_raises_when_a_name_is_unknown(network: MODNet) -> None:
    published = modelcompression_state(network) | {"hr_branch.extra.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match="the file is of another network: it holds 'hr_branch.extra.weight'"):
        our_state(published, "the file")


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("backbone.blocks.0.depthwise.conv.weight", (24, 1, 3, 3), "a block without expand convolution"),
        ("backbone.blocks.3.project.conv.weight", None, "no weights for backbone.blocks.3.project"),
        ("semantic.lr8x.conv.weight", (), "no weights for semantic.lr8x.conv"),
        ("semantic.lr8x.norm.batch.weight", (), "no weights for semantic.lr8x.norm.batch"),
    ],
    ids=["hidden width", "missing", "no axis", "norm without axis"],
)
def test_spec_from_shapes_raises_when_shapes_are_no_network(
    network: MODNet, name: str, shape: tuple[int, ...] | None, message: str
) -> None:
    state = network.state_dict()
    del state[name]
    if shape is not None:
        state[name] = torch.zeros(shape)
    with pytest.raises(CheckpointError, match=message):
        spec_from_shapes(state, "the file")
