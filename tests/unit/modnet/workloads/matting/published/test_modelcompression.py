"""ModelCompression's two files, written: what is in them, that they load, and which weights are inherited."""

import copy
import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from modnet.errors import CheckpointError, PruningError
from modnet.pruning.plan import network_digest
from modnet.workloads.matting.checkpoint import load, read_checkpoint
from modnet.workloads.matting.network.blocks import ConvIBNormReLU
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.published.layout import our_state
from modnet.workloads.matting.published.modelcompression import (
    fresh,
    inherited,
    prune_like_modelcompression,
    write_modelcompression_files,
)
from modnet.workloads.matting.published.modelcompression_rule import ModelCompressionRule

SETTING = {"threshold": 0.5, "ratio": 0.5}  # on `unpruned` some skips vanish, some stay, and one block loses its expand


@pytest.fixture(scope="module")
def unpruned() -> MODNet:
    """Filters of unequal norms; the shift of a batch norm and the first weight of a branch's filter say which it is."""
    network = MODNet(ModnetSpec.full()).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.weight.normal_(generator=generator)
                gain = torch.rand(len(module.weight), generator=generator) + 0.05
                module.weight.mul_(gain.reshape(-1, *(1,) * (module.weight.dim() - 1)))
            if isinstance(module, nn.BatchNorm2d):
                module.bias.copy_(torch.arange(module.num_features))
        for module in network.modules():
            if isinstance(module, ConvIBNormReLU):
                module.conv.weight[:, :, 0, 0] = torch.arange(len(module.conv.weight))[:, None]
    return network


def channels(network: MODNet, layer: str) -> list[int]:
    """The channels of the unpruned network that a backbone layer holds."""
    return [int(shift) for shift in network.get_submodule(f"{layer}.norm").bias]


@pytest.mark.parametrize("case", range(3))
def test_write_modelcompression_files_writes_what_modelcompression_wrote(recordings, tmp_path: Path, case: int) -> None:
    recorded = recordings.read("seed_visible.json")
    pruned = recorded["cases"][case]
    base = MODNet(ModnetSpec.full())
    base.load_state_dict(our_state(recordings.state(recorded["base"]["keys"], recorded["salt"]), "recorded"))
    files = write_modelcompression_files(
        tmp_path, prune_like_modelcompression(base, threshold=pruned["threshold"], ratio=pruned["ratio"])
    )
    assert files.checkpoint.name == f"modnet_p_ratio_{pruned['ratio']}_thresh_{pruned['threshold']}.ckpt"
    assert files.prune_info.name == f"modnet_p_ratio_{pruned['ratio']}_thresh_{pruned['threshold']}.json"
    assert files.prune_info.read_text() == json.dumps(pruned["prune_info"], separators=(",", ":"))
    state = torch.load(files.checkpoint, weights_only=True)
    assert [(name, list(tensor.shape)) for name, tensor in state.items()] == list(pruned["keys"].items())


@pytest.mark.parametrize("inherit", [False, True], ids=["fresh", "inherited"])
def test_load_gives_back_the_network_that_write_modelcompression_files_wrote(
    unpruned: MODNet, tmp_path: Path, inherit: bool
) -> None:
    pruned = prune_like_modelcompression(unpruned, **SETTING, inherit=inherit)
    files = write_modelcompression_files(tmp_path / "deep" / "folder", pruned)
    checkpoint = read_checkpoint(files.checkpoint, files.prune_info)
    assert checkpoint.layout == "modelcompression"
    assert checkpoint.network.spec == pruned.network.spec
    assert network_digest(checkpoint.network) == network_digest(pruned.network)
    assert sorted(files.checkpoint.parent.iterdir()) == sorted([files.checkpoint, files.prune_info])


def test_write_modelcompression_files_names_whole_numbers_as_modelcompression_does(
    unpruned: MODNet, tmp_path: Path
) -> None:
    files = write_modelcompression_files(tmp_path, prune_like_modelcompression(unpruned, threshold=1, ratio=0))
    assert files.prune_info.name == "modnet_p_ratio_0.0_thresh_1.0.json"
    assert files.prune_info.read_text().startswith('{"ratio":0.0,"threshold":1.0,"new_cfg":[8,8,')


def test_write_modelcompression_files_writes_equal_bytes_when_seed_is_equal(unpruned: MODNet, tmp_path: Path) -> None:
    def content(folder: str, seed: int) -> list[bytes]:
        files = write_modelcompression_files(
            tmp_path / folder, prune_like_modelcompression(unpruned, **SETTING, seed=seed)
        )
        return [files.checkpoint.read_bytes(), files.prune_info.read_bytes()]

    first = content("a", 7)
    assert content("b", 7) == first
    assert content("c", 8)[0] != first[0]


def test_write_modelcompression_files_raises_when_a_file_is_in_the_way(unpruned: MODNet, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="cannot write modnet_p_ratio_0.5_thresh_0.5"):
        write_modelcompression_files(tmp_path / "file", prune_like_modelcompression(unpruned, **SETTING))


def test_prune_like_modelcompression_raises_when_modelcompression_would_fail(portraits_base: Path) -> None:
    with pytest.raises(PruningError, match="nearest threshold that works is 0.36"):
        prune_like_modelcompression(load(portraits_base), threshold=0.5, ratio=0.5)


def test_fresh_draws_kaiming_uniform_weights_without_touching_others_random_numbers() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    network = fresh(ModnetSpec.tiny(), seed=1)
    assert torch.equal(torch.rand(3), expected)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            bound = math.sqrt(6 / module.weight[0].numel())
            assert module.weight.abs().max() <= bound
            if module.weight.numel() > 100:
                assert module.weight.abs().max() > 0.9 * bound
            assert module.bias is None or not module.bias.any()


def test_prune_like_modelcompression_inherits_everything_when_nothing_goes(unpruned: MODNet) -> None:
    pruned = prune_like_modelcompression(unpruned, threshold=1e-9, ratio=0, inherit=True).network
    assert pruned.spec == unpruned.spec
    assert network_digest(pruned) == network_digest(unpruned)


def test_prune_like_modelcompression_does_not_touch_the_network(unpruned: MODNet) -> None:
    before = network_digest(unpruned)
    prune_like_modelcompression(unpruned, **SETTING, inherit=True)
    assert network_digest(unpruned) == before


def test_inherited_partners_keep_the_same_channels(unpruned: MODNet) -> None:
    pruned = prune_like_modelcompression(unpruned, **SETTING, inherit=True).network
    skips = {True: 0, False: 0}
    for index, (block, before) in enumerate(zip(pruned.spec.blocks, unpruned.spec.blocks, strict=True)):
        path = f"backbone.blocks.{index}"
        if block.expands:
            assert channels(pruned, f"{path}.expand") == channels(pruned, f"{path}.depthwise")
        if before.residual:
            skips[block.residual] += 1
        if before.residual and block.residual:
            assert channels(pruned, f"{path}.project") == channels(pruned, f"backbone.blocks.{index - 1}.project")
    assert channels(pruned, "backbone.stem") == channels(pruned, "backbone.blocks.0.depthwise")
    assert all(skips.values()), "the case must have both"


def test_inherited_weights_are_those_of_the_kept_channels(unpruned: MODNet) -> None:
    pruned = prune_like_modelcompression(unpruned, **SETTING, inherit=True).network
    last, before = channels(pruned, "backbone.last"), channels(pruned, "backbone.blocks.16.project")
    wanted = unpruned.backbone.last.conv.weight[last][:, before]
    assert torch.equal(pruned.backbone.last.conv.weight, wanted)
    lr16x = pruned.semantic.lr16x.conv.weight
    assert torch.equal(lr16x, unpruned.semantic.lr16x.conv.weight[lr16x[:, 0, 0, 0].long()][:, last])


def test_inherited_layers_take_up_what_removed_channels_leave_behind(unpruned: MODNet) -> None:
    """A batch norm that removes nothing but its shift: the layer behind it reads a constant."""
    constant = copy.deepcopy(unpruned)
    with torch.no_grad():
        for layer in ("backbone.blocks.6.expand", "backbone.blocks.6.depthwise"):
            constant.get_submodule(f"{layer}.norm").weight.zero_()
    spec = ModelCompressionRule(constant).spec(threshold=1e-9, ratio=0)
    narrower = list(spec.blocks)
    narrower[6] = narrower[6].model_copy(update={"hidden_channels": 8})
    pruned = inherited(constant, spec.model_copy(update={"blocks": tuple(narrower)}))
    x = torch.rand(1, 32, 6, 6)
    with torch.inference_mode():
        got, wanted = (network.eval().backbone.blocks[6](x) for network in (pruned, constant))
    assert torch.allclose(got, wanted, rtol=1e-4, atol=1e-3)


def test_inherited_channels_keep_their_half_of_an_ibnorm(unpruned: MODNet) -> None:
    pruned = prune_like_modelcompression(unpruned, **SETTING, inherit=True).network
    for path, half in (("semantic.lr16x", 48), ("detail.enc4x", 32), ("fusion.head_features", 8)):
        layer = pruned.get_submodule(path)
        kept = layer.conv.weight[:, 0, 0, 0].int().tolist()
        assert kept == sorted(set(kept))
        assert layer.norm.batch.bias.int().tolist() == [i for i in kept if i < half]
        assert len(layer.norm.batch.bias) == len(kept) // 2


def test_inherited_network_computes_when_blocks_lose_their_expand_convolution(unpruned: MODNet) -> None:
    pruned = prune_like_modelcompression(unpruned, threshold=1.0, ratio=0.5, inherit=True).network
    assert not any(block.expands for block in pruned.spec.blocks)
    with torch.inference_mode():
        assert pruned(torch.rand(1, 3, 64, 64)).alpha.isfinite().all()
