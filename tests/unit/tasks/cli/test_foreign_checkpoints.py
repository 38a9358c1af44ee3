"""What the command line says of a checkpoint that holds no usable weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.published.layout import modelcompression_state

Refuse = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in modelcompression_state(MODNet(ModnetSpec.full())).items()}


@pytest.mark.parametrize("verb", ["prune", "retrain", "export"])
def test_verbs_refuse_a_network_with_nan_and_write_nothing(
    state: dict[str, torch.Tensor], archive: Path, tmp_path: Path, refuse: Refuse, verb: str
) -> None:
    name = "f_branch.conv_f2x.layers.0.weight"
    nan = state[name].index_fill(0, torch.tensor([0]), float("nan"))
    torch.save(state | {name: nan}, tmp_path / "nan.ckpt")
    dataset = ["--dataset", archive] if verb == "retrain" else []
    code, message = refuse(verb, "--checkpoint", tmp_path / "nan.ckpt", *dataset, "--out", tmp_path / "out")
    assert code == 3
    assert f"{name} has" in message
    out = tmp_path / "out"
    assert not [path for path in (out, *out.rglob("*")) if path.is_file()]


def test_prune_says_how_to_save_the_weights_of_a_whole_network(tmp_path: Path, refuse: Refuse) -> None:
    torch.save(MODNet(ModnetSpec.tiny()), tmp_path / "whole.ckpt")
    code, message = refuse("prune", "--checkpoint", tmp_path / "whole.ckpt", "--out", tmp_path / "out")
    assert code == 3
    assert "torch.save(x.state_dict(), 'weights.pt')" in message
