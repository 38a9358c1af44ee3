"""The evaluation benchmark, end to end on a tiny network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import evaluation
from modnet.checkpoint import save_checkpoint
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec


@pytest.mark.slow  # exports at 512×512
def test_fewer_images_than_warm_up_has_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    torch.manual_seed(0)
    base = save_checkpoint(MODNet(ModnetSpec.tiny()), tmp_path / "base.safetensors", {})
    dataset = write_synthetic_archive(tmp_path / "portraits.zip", train=5, val=3, size=(72, 64), seed=0)
    command = ["--dataset", str(dataset), "--base", str(base), "--cache", str(tmp_path / "cache"), "--images", "1"]
    assert evaluation.main(command) == 0
    assert capsys.readouterr().out.startswith("1 images, in the median 64 × 72 pixels")
