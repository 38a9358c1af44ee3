"""The project brings its base network along: whole, small, as its card and record say, and in every wheel."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import torch

from modnet.checkpoint import read_checkpoint
from modnet.data.download import sha256_of_file
from modnet.data.synthetic import render_portrait
from modnet.evaluation.metrics import mse
from modnet.inference.predictors import TorchPredictor
from modnet.spec import ModnetSpec
from modnet.weights import SHIPPED_BASE

PROJECT = Path(__file__).resolve().parents[2]
RECORD, CARD = SHIPPED_BASE.with_name("base.json"), SHIPPED_BASE.with_name("README.md")


def test_shipped_base_is_an_unpruned_network_of_at_most_14_mb_with_its_convolutions_in_float16() -> None:
    assert SHIPPED_BASE.stat().st_size <= 14_000_000
    network = read_checkpoint(SHIPPED_BASE).network
    assert network.spec == ModnetSpec.full()
    for name, tensor in network.state_dict().items():
        if tensor.dim() > 1:
            assert torch.equal(tensor, tensor.half().float()), name


def test_record_and_card_are_those_of_the_shipped_base() -> None:
    record = json.loads(RECORD.read_text())
    assert record["sha256"] == sha256_of_file(SHIPPED_BASE)
    assert record["bytes"] == SHIPPED_BASE.stat().st_size
    assert record["made"] == read_checkpoint(SHIPPED_BASE).provenance
    card = CARD.read_text()
    assert record["made"]["data"]["photographs"]["sha256"] in card
    for one in record["scores"]:
        assert f"| {one['images']} {one['data']}, {one['split']} | `{one['protocol']}` |" in card
        assert f"{one['errors']['mse']['mean']:.4f}" in card


def test_shipped_base_cuts_out_rendered_portraits_that_it_has_not_seen() -> None:
    """The demo compresses it on such portraits. A tenth of the error of background everywhere is far from good."""
    predictor = TorchPredictor(read_checkpoint(SHIPPED_BASE).network, "seed")
    errors, errors_of_nothing = [], []
    for number in range(3):
        image, alpha = render_portrait(np.random.default_rng(number), (512, 384))
        errors.append(mse(predictor(image), alpha))
        errors_of_nothing.append(mse(np.zeros_like(alpha), alpha))
    assert np.mean(errors) < np.mean(errors_of_nothing) / 10


def test_a_wheel_holds_the_shipped_base_its_record_and_its_card(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, tmp_path)
    for name in ("flows", "tasks", "modnet", "infra"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    program = "import setuptools.build_meta as build; print(build.build_wheel('.'))"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        for path in (SHIPPED_BASE, RECORD, CARD):
            assert wheel.read(f"modnet/weights/{path.name}") == path.read_bytes()
