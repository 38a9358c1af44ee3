"""The front is made by one command: IRs, cards, and the table in the README beside them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch

from benchmarks.making import front
from modnet.checkpoint import save_checkpoint
from modnet.data.download import sha256_of_file
from modnet.export.openvino_graph import OpenvinoGraph
from modnet.shipped import FRONT
from modnet.workloads.matting.checkpoint import read_checkpoint
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec

README = "Before.\n<!-- front -->\nOld.\n<!-- end of front -->\nBehind.\n"


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped weights with a tiny base, named `shipped`."""
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "README.md").write_text(README)
    torch.manual_seed(0)
    base = save_checkpoint(MODNet(ModnetSpec.tiny()), folder / "base.safetensors", {"made": "first"})
    monkeypatch.setattr(front, "FOLDER", folder)
    monkeypatch.setattr(front, "SHIPPED_BASE", base)
    monkeypatch.setattr(front, "NAMED", {"shipped": base})
    monkeypatch.setattr(front, "REFERENCE", (64, 64))
    monkeypatch.setattr(front, "RENDERED", 1)
    return folder


@pytest.mark.slow
def test_one_command_makes_irs_cards_and_table_and_swaps_one_network(weights: Path, tmp_path: Path) -> None:
    archive = write_synthetic_archive(tmp_path / "photographs.zip", train=8, val=1, size=(96, 64), seed=9)
    common = ["--dataset", str(archive), "--cache", str(tmp_path / "cache")]
    assert front.main([*common, *(f"{name}=shipped@96x64" for name in FRONT)]) == 0
    cards = {name: json.loads((weights / f"{name}.json").read_text()) for name in FRONT}
    for name, card in cards.items():
        assert (card["checkpoint"]["file"], card["shape"]) == ("base.safetensors", [96, 64])
        assert card["protocols"] == ["device-64x96", "device-96x64"]
        for target in front.TARGETS:
            assert card["irs"][target]["bin"]["sha256"] == sha256_of_file(weights / f"{name}-{target}.bin")
            assert OpenvinoGraph(weights / f"{name}-{target}.xml", shape=(64, 96)).shape == (64, 96)
        assert {(one["data"], one["split"]) for one in card["scores"]} == {
            ("photographs", "tune"),
            ("upper parts in landscape", "tune"),
            ("rendered", "val"),
            ("rendered in landscape", "val"),
        }

    torch.manual_seed(1)
    other = save_checkpoint(MODNet(ModnetSpec.tiny()), tmp_path / "other.safetensors", {"made": "later"})
    assert front.main([*common, "--calibrate", "rendered", f"balanced={other}@64x64"]) == 0
    card = json.loads((weights / "balanced.json").read_text())
    assert (card["checkpoint"]["file"], card["made"]) == ("balanced.safetensors", {"made": "later"})
    assert read_checkpoint(weights / "balanced.safetensors").provenance == {"made": "later"}
    assert json.loads((weights / "best.json").read_text()) == cards["best"]
    readme = (weights / "README.md").read_text()
    assert readme.startswith("Before.\n<!-- front -->\n\n| `--model` |")
    assert readme.endswith("<!-- end of front -->\nBehind.\n")
    assert "| balanced | `cpu-int8` | 64×64 |" in readme


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("worst=a.safetensors@480x320", "wanted one of fast, balanced, best as NAME=CHECKPOINT@480x320"),
        ("fast=a.safetensors", "wanted one of fast, balanced, best"),
        ("fast=a.safetensors@480x321", "sides are multiples of 32"),
    ],
)
def test_a_network_that_cannot_be_read_is_refused_in_words(text: str, message: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        front.row(text)
    assert front.row("fast=a@b.safetensors@480x320") == front.Row("fast", "a@b.safetensors", (480, 320))
