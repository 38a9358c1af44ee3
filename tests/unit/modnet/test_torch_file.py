"""Files of torch: every form and wrapping gives the network, what cannot be read is refused in words that help."""

import io
import pickle
import tarfile
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from modnet.backbones.spec import BlockSpec
from modnet.checkpoint import save_checkpoint
from modnet.errors import CheckpointError
from modnet.workloads.matting.checkpoint import load, read_checkpoint
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec, SplitWidth
from modnet.workloads.matting.published.layout import modelcompression_state

State = dict[str, Tensor]


def narrow_spec() -> ModnetSpec:
    """Of the published depth, and narrow, so that it loads quickly."""
    full, split = ModnetSpec.full(), SplitWidth(batch=2, instance=2)
    blocks = [
        BlockSpec(
            in_channels=4,
            hidden_channels=8 if block.expands else 4,
            out_channels=4,
            stride=block.stride,
            expands=block.expands,
            residual=block.stride == 1,
        )
        for block in full.blocks
    ]
    splits = {name: split for name, value in full if isinstance(value, SplitWidth)}
    rows = {name: (split,) * len(value) for name, value in full if isinstance(value, tuple) and name != "blocks"}
    return ModnetSpec(
        **{
            **dict(full),
            **splits,
            **rows,
            "blocks": tuple(blocks),
            "stem_channels": 4,
            "last_channels": 8,
            "squeeze_channels": 2,
        }
    )


@pytest.fixture(scope="module")
def network() -> MODNet:
    torch.manual_seed(0)
    return MODNet(narrow_spec())


@pytest.fixture(scope="module")
def state(network: MODNet) -> State:
    return modelcompression_state(network)


def assert_same(read: MODNet, wanted: MODNet) -> None:
    assert all(torch.equal(tensor, wanted.state_dict()[name]) for name, tensor in read.state_dict().items())


@pytest.mark.parametrize(
    ("wrapped", "is_zip"),
    [
        (lambda state: state, False),
        (lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"state": {}, "param_groups": []}}, False),
        (lambda state: {"model": OrderedDict((f"module.{name}", value) for name, value in state.items())}, True),
        (lambda state: {f"model.module.{name}": value for name, value in state.items()}, True),
        (lambda state: {f"_orig_mod.{name}": value for name, value in state.items()}, True),
        (lambda state: {n: value for n, value in state.items() if not n.endswith("num_batches_tracked")}, False),
    ],
    ids=["before torch 1.6", "of a training", "of a parallel one", "prefixes", "compiled", "without counters"],
)
def test_load_gives_the_network_when_torch_saved_its_weights(
    network: MODNet, state: State, tmp_path: Path, wrapped: Callable[[State], object], is_zip: bool
) -> None:
    torch.save(wrapped(state), tmp_path / "a.ckpt", _use_new_zipfile_serialization=is_zip)
    assert_same(load(tmp_path / "a.ckpt"), network)


def test_load_gives_the_network_when_a_published_one_is_in_safetensors(
    network: MODNet, state: State, tmp_path: Path
) -> None:
    save_file({name: value.clone() for name, value in state.items()}, tmp_path / "a.safetensors")
    checkpoint = read_checkpoint(tmp_path / "a.safetensors")
    assert checkpoint.layout == "modelcompression"
    assert_same(checkpoint.network, network)


class _Hostile:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (MODNet(ModnetSpec.tiny()), "holds a modnet.workloads.matting.network.modnet.MODNet"),
        ({"state_dict": {"a": torch.zeros(1)}, "best": np.float64(0.5)}, "holds a numpy._core.multiarray.scalar"),
        (_Hostile(), "holds a "),
    ],
    ids=["a network", "a training's numpy", "code"],
)
def test_load_says_how_to_save_the_weights_when_the_file_holds_objects(
    tmp_path: Path, content: object, why: str, is_zip: bool, capsys: pytest.CaptureFixture
) -> None:
    torch.save(content, tmp_path / "a.ckpt", _use_new_zipfile_serialization=is_zip)
    with pytest.raises(CheckpointError, match=r"a\.ckpt") as raised:
        load(tmp_path / "a.ckpt")
    assert why in str(raised.value)
    assert "torch.save(x.state_dict(), 'weights.pt')" in str(raised.value)
    assert str(raised.value).isprintable()  # no colours, one line
    assert "code ran" not in capsys.readouterr().out


def as_a_program(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # what wrote such files is on its way out of torch
        torch.jit.script(torch.nn.ReLU()).save(path)


def in_a_tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO())


@pytest.mark.parametrize(
    ("write", "why"),
    [
        (in_a_tar, "is a .tar, as torch saved before 0.1.10"),
        (as_a_program, "is a TorchScript program"),
        (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "cannot read"),
        (lambda path: path.write_bytes(b""), "it is empty"),
        (lambda path: path.write_text("\n<!DOCTYPE html><title>Quota exceeded</title>"), "it is a web page"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0"), "Git LFS pointer"),
        (lambda path: path.write_text("<?xml version='1.0'?>\n<net/>"), "goes to --ir"),
        (lambda path: path.write_bytes(b"\x08\x07\x12\x07pytorch"), "it starts with"),
        (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(300)), "cut off or damaged"),
        (
            lambda path: torch.save({"net": {"a": torch.ones(1)}, "ema": {"a": torch.ones(1)}}, path),
            "several state dicts: 'net', 'ema'",
        ),
        (lambda path: torch.save({"epoch": 3, "lr": 0.1}, path), "no state dict of tensors: 'epoch', 'lr'"),
        (lambda path: torch.save({}, path), "no state dict of tensors: nothing"),
    ],
    ids=["tar", "script", "pickle", "empty", "page", "lfs", "xml", "onnx", "cut", "several", "none", "nothing"],
)
def test_load_says_what_a_file_is_when_torch_saved_no_weights_in_it(
    tmp_path: Path, write: Callable[[Path], object], why: str
) -> None:
    write(tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=r"a\.ckpt") as raised:
        load(tmp_path / "a.ckpt")
    assert why in str(raised.value)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before torch 1.6"])
def test_load_raises_when_the_file_is_cut_off_anywhere(tmp_path: Path, is_zip: bool) -> None:
    torch.save({"a": torch.zeros(100)}, tmp_path / "a.ckpt", _use_new_zipfile_serialization=is_zip)
    whole = (tmp_path / "a.ckpt").read_bytes()
    for size in range(0, len(whole), 7):
        (tmp_path / "a.ckpt").write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=r"a\.ckpt"):
            load(tmp_path / "a.ckpt")


def test_load_raises_when_two_prefixes_hold_one_name(state: State, tmp_path: Path) -> None:
    torch.save(state | {f"module.{name}": value for name, value in state.items()}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="several networks"):
        load(tmp_path / "a.ckpt")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300], ids=["nan", "inf", "beyond float32"])
def test_load_names_the_tensor_when_a_published_network_holds_no_numbers(
    state: State, tmp_path: Path, value: float
) -> None:
    name = "f_branch.conv_f2x.layers.0.weight"
    damaged = state[name].double()
    damaged[0, 0, 0, 0] = value
    torch.save(state | {name: damaged}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=rf"a\.ckpt: {name} has 1 of \d+ values"):
        load(tmp_path / "a.ckpt")


def test_load_names_the_tensor_when_it_is_no_plain_array(state: State, tmp_path: Path) -> None:
    name = "f_branch.conv_f2x.layers.0.weight"
    torch.save(state | {name: state[name].to_sparse()}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=rf"{name} is torch.sparse_coo"):
        load(tmp_path / "a.ckpt")


def test_load_names_the_tensor_when_our_network_holds_no_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = MODNet(ModnetSpec.tiny())
    with torch.no_grad():
        network.fusion.head.weight[0, 0] = float("nan")
    with pytest.raises(CheckpointError, match=r"the network to save: fusion\.head\.weight has"):
        save_checkpoint(network, tmp_path / "a.safetensors", {})
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("modnet.checkpoint._require_finite", lambda state, where: None)  # as earlier versions wrote
    save_checkpoint(network, tmp_path / "a.safetensors", {})
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"a\.safetensors: fusion\.head\.weight has"):
        load(tmp_path / "a.safetensors")


def test_save_checkpoint_raises_when_half_precision_cannot_hold_a_weight(tmp_path: Path) -> None:
    network = MODNet(ModnetSpec.tiny())
    with torch.no_grad():
        network.fusion.head.weight[0, 0] = 1e5
    with pytest.raises(CheckpointError, match=r"fusion\.head\.weight has"):
        save_checkpoint(network, tmp_path / "a.safetensors", {}, half=True)
