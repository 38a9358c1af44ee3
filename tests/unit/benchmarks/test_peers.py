"""Peers stand in one table with ours: each fed as its authors do, all scored at the size of the images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
from openvino import opset8

from benchmarks.peers import Peer, PeerPredictor, main
from modnet.checkpoint import save_checkpoint
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec

RED_CHANNEL = 0


def picking(channel: int, shape: list[int], axis: int) -> ov.Model:
    """A network whose answer is one colour of the image."""
    given = opset8.parameter(shape, ov.Type.f32)
    picked = opset8.gather(given, opset8.constant([channel]), opset8.constant(axis))
    return ov.Model([picked], [given], "picking")


@pytest.mark.parametrize("is_nhwc", [True, False])
@pytest.mark.parametrize("is_bgr", [True, False])
def test_a_peer_is_fed_in_its_own_order_and_scale(is_nhwc: bool, is_bgr: bool) -> None:
    """Red is (200 - 100) / 200 in the channel where the peer looks for it."""
    shape = [1, 32, 64, 3] if is_nhwc else [1, 3, 32, 64]
    red = 2 if is_bgr else 0
    scale = (1.0, 1.0, 200.0) if is_bgr else (200.0, 1.0, 1.0)
    mean = (0.0, 0.0, 100.0) if is_bgr else (100.0, 0.0, 0.0)
    peer = Peer(name="p", file="p", shape=(32, 64), is_nhwc=is_nhwc, is_bgr=is_bgr, mean=mean, scale=scale)
    predictor = PeerPredictor(peer, picking(red, shape, 3 if is_nhwc else 1))
    image = np.zeros((50, 40, 3), np.uint8)
    image[..., RED_CHANNEL] = 200
    mask = predictor(image)
    assert (mask.shape, mask.dtype) == ((50, 40), np.float32)
    np.testing.assert_allclose(mask, 0.5, atol=1e-6)


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    """Flags of drawn portraits, tiny networks and a peer that answers with an image's green."""
    torch.manual_seed(0)
    archive = write_synthetic_archive(tmp_path / "portraits.zip", train=7, val=2, size=(96, 64), seed=0)
    networks = [save_checkpoint(MODNet(ModnetSpec.tiny()), tmp_path / f"{name}.safetensors", {}) for name in "ab"]
    ov.save_model(picking(1, [1, 32, 32, 3], 3), tmp_path / "green.xml", compress_to_fp16=False)
    table = [{"name": "green", "file": "green.xml", "shape": [32, 32], "is_nhwc": True}]
    (tmp_path / "table.json").write_text(json.dumps(table))
    return [
        *("--dataset", str(archive), "--base", str(networks[0]), "--ours", f"small={networks[1]}@96x64"),
        *("--cache", str(tmp_path / "cache"), "--peers", str(tmp_path), "--table", str(tmp_path / "table.json")),
        *("--rounds", "2", "--threads", "1", "--samples", str(tmp_path / "peers.json")),
    ]


@pytest.mark.slow  # exports at 512×512
def test_peers_and_ours_stand_in_one_table_and_one_plot(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("benchmarks.peers.PEERS", ())
    assert main([*given, "--shapes", "512x512", "96x64", "--plot", str(tmp_path / "plot.png")]) == 0
    table = capsys.readouterr().out
    named = {line.split("|")[1].strip() for line in table.splitlines() if line.startswith("|")}
    ours = ("unpruned {} 512x512", "unpruned {} 96x64", "small {} 96x64")
    assert named - {"network", "---"} == {"green"} | {
        name.format(target) for name in ours for target in ("cpu-fp32", "cpu-int8")
    }
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert main(["--read", str(tmp_path / "peers.json")]) == 0
    assert capsys.readouterr().out == table


def test_the_reference_must_be_among_the_shapes(given: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main([*given, "--shapes", "96x64"])
    assert "--shapes: wanted 512x512 among them" in capsys.readouterr().err
