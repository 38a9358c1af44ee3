"""The project brings two networks along: whole, small, as card and records say, and in every wheel."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from modnet.data.download import sha256_of_file
from modnet.export.parity import TOLERANCES
from modnet.pruning.complexity import complexity
from modnet.pruning.plan import network_digest
from modnet.workloads.matting.checkpoint import read_checkpoint
from modnet.workloads.matting.data.synthetic import render_portrait
from modnet.workloads.matting.metrics import mse
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.predict.openvino_predictors import IrPredictor
from modnet.workloads.matting.predict.predictors import TorchPredictor
from modnet.workloads.matting.weights import SHIPPED_BASE, SHIPPED_BASE_IR, SHIPPED_SMALL

PROJECT = Path(__file__).resolve().parents[2]
CARD = SHIPPED_BASE.with_name("README.md")
SHIPPED_FILES = [path.with_suffix(end) for path in (SHIPPED_BASE, SHIPPED_SMALL) for end in (".safetensors", ".json")]
SHIPPED = pytest.mark.parametrize("shipped", [SHIPPED_BASE, SHIPPED_SMALL], ids=["base", "pruned"])


def test_shipped_base_is_an_unpruned_network_and_the_small_one_a_fifth_of_it() -> None:
    assert read_checkpoint(SHIPPED_BASE).network.spec == ModnetSpec.full()
    cost = complexity(read_checkpoint(SHIPPED_SMALL).network)
    assert (cost.parameters <= 1_340_000, cost.macs <= 3_700_000_000) == (True, True)
    assert SHIPPED_BASE.stat().st_size <= 14_000_000
    assert SHIPPED_SMALL.stat().st_size <= 3_000_000


@SHIPPED
def test_shipped_networks_have_their_convolutions_in_float16(shipped: Path) -> None:
    for name, tensor in read_checkpoint(shipped).network.state_dict().items():
        if tensor.dim() > 1:
            assert torch.equal(tensor, tensor.half().float()), name


def test_the_small_network_came_from_the_shipped_base() -> None:
    base = read_checkpoint(SHIPPED_BASE)
    assert read_checkpoint(SHIPPED_SMALL).provenance["base"] == network_digest(base.network)
    assert read_checkpoint(SHIPPED_SMALL).provenance["data"] == base.provenance["data"]


@SHIPPED
def test_record_and_card_are_those_of_the_shipped_network(shipped: Path) -> None:
    record = json.loads(shipped.with_suffix(".json").read_text())
    assert record["sha256"] == sha256_of_file(shipped)
    assert record["bytes"] == shipped.stat().st_size
    assert record["made"] == read_checkpoint(shipped).provenance
    card = CARD.read_text()
    assert record["made"]["data"]["photographs"]["sha256"] in card
    for one in record["scores"]:
        assert f"| {one['images']} {one['data']}, {one['split']} | `{one['protocol']}` |" in card
        assert f"{one['errors']['mse']['mean']:.4f}" in card


@SHIPPED
def test_shipped_networks_cut_out_rendered_portraits_that_they_have_not_seen(shipped: Path) -> None:
    """The demo compresses them on such portraits. A tenth of the error of background everywhere is far from good."""
    predictor = TorchPredictor(read_checkpoint(shipped).network, "modelcompression")
    errors, errors_of_nothing = [], []
    for number in range(3):
        image, alpha = render_portrait(np.random.default_rng(number), (512, 384))
        errors.append(mse(predictor(image), alpha))
        errors_of_nothing.append(mse(np.zeros_like(alpha), alpha))
    assert np.mean(errors) < np.mean(errors_of_nothing) / 10


def test_the_ir_of_the_shipped_base_computes_what_the_base_does() -> None:
    base, ir = TorchPredictor(read_checkpoint(SHIPPED_BASE).network, "device-512"), IrPredictor(SHIPPED_BASE_IR)
    for number in range(2):
        image, _ = render_portrait(np.random.default_rng(number), (512, 384))
        assert np.abs(base(image) - ir(image)).mean() <= TOLERANCES["fp16"].mean


def test_a_wheel_holds_the_shipped_networks_their_records_and_their_card(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, tmp_path)
    for name in ("flows", "tasks", "modnet", "infra"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    program = "import setuptools.build_meta as build; print(build.build_wheel('.'))"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        for path in (*SHIPPED_FILES, SHIPPED_BASE_IR, SHIPPED_BASE_IR.with_suffix(".bin"), CARD):
            assert wheel.read(f"modnet/workloads/matting/weights/{path.name}") == path.read_bytes()
