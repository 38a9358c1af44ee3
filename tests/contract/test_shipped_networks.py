"""The project brings networks along: whole, small, as cards and records say, and in every wheel."""

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

from benchmarks.making.front import MAX_BYTES, table_of
from modnet.data.download import sha256_of_file
from modnet.export.openvino_graph import OpenvinoGraph
from modnet.export.parity import TOLERANCES
from modnet.graph_function import TorchGraph
from modnet.pruning.complexity import complexity
from modnet.pruning.plan import network_digest
from modnet.shipped import FRONT, FrontName
from modnet.targets import VARIANTS
from modnet.workloads.matting.checkpoint import read_checkpoint
from modnet.workloads.matting.data.preprocessing import prepare
from modnet.workloads.matting.data.protocols import letterbox
from modnet.workloads.matting.data.synthetic import render_portrait
from modnet.workloads.matting.metrics import mse
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.predict.front_predictor import FrontPredictor
from modnet.workloads.matting.predict.predictors import TorchPredictor
from modnet.workloads.matting.weights import FOLDER, SHIPPED_BASE, SHIPPED_SMALL, checkpoint_path, front_network

PROJECT = Path(__file__).resolve().parents[2]
CARD = SHIPPED_BASE.with_name("README.md")
SHIPPED_FILES = [path.with_suffix(end) for path in (SHIPPED_BASE, SHIPPED_SMALL) for end in (".safetensors", ".json")]
FRONT_FILES = [
    *(FOLDER / f"{name}.json" for name in FRONT),
    *(xml.with_suffix(end) for name in FRONT for xml in front_network(name).irs.values() for end in (".xml", ".bin")),
]
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


@pytest.mark.parametrize("name", FRONT)
def test_the_card_of_a_network_of_the_front_is_that_of_its_files(name: FrontName) -> None:
    card, network = json.loads((FOLDER / f"{name}.json").read_text()), front_network(name)
    files = {network.checkpoint: card["checkpoint"]}
    for target, xml in network.irs.items():
        files |= {xml.with_suffix(f".{end}"): stated for end, stated in card["irs"][target].items()}
    for path, stated in files.items():
        assert (path.name, sha256_of_file(path), path.stat().st_size) == (path.name, stated["sha256"], stated["bytes"])
        assert path.stat().st_size <= MAX_BYTES
    read = read_checkpoint(network.checkpoint)
    assert checkpoint_path(f"shipped-{name}") == network.checkpoint
    assert card["made"] == read.provenance
    cost = complexity(read.network)
    height, width = network.shape
    assert (card["parameters"], card["macs"]) == (cost.parameters, round(cost.macs * height * width / 512**2))
    for target in network.irs:
        assert {one["protocol"] for one in card["scores"] if one["target"] == target} == set(card["protocols"])


def test_the_front_is_ordered_and_its_table_is_the_one_in_the_readme() -> None:
    cards = [json.loads((FOLDER / f"{name}.json").read_text()) for name in FRONT]
    assert [card["macs"] for card in cards] == sorted(card["macs"] for card in cards)
    drawn = CARD.read_text().partition("<!-- front -->")[2].partition("<!-- end of front -->")[0]
    assert drawn.strip() == table_of(FOLDER)


@pytest.mark.parametrize("is_turned", [False, True], ids=["stored", "turned"])
@pytest.mark.parametrize("name", FRONT)
def test_the_irs_of_the_front_compute_what_their_checkpoint_does(name: FrontName, is_turned: bool) -> None:
    """One IR reads both directions; INT8 differs by its rounding."""
    network = front_network(name)
    shape = network.shapes[is_turned]
    image, _ = render_portrait(np.random.default_rng(0), (512, 384)[:: -1 if is_turned else 1])
    pixels = prepare(image, letterbox(shape)).pixels
    wanted = TorchGraph(read_checkpoint(network.checkpoint).network)(pixels)
    for target, xml in network.irs.items():
        away = np.abs(OpenvinoGraph(xml, shape=shape)(pixels) - wanted).mean()
        assert away <= min(0.02, TOLERANCES[VARIANTS[target].precision].mean), (target, away)


@pytest.mark.parametrize("name", FRONT)
def test_the_front_cuts_out_rendered_portraits_in_both_directions(name: FrontName) -> None:
    predictor = FrontPredictor(name)
    for size in ((512, 384), (384, 512)):
        image, alpha = render_portrait(np.random.default_rng(1), size)
        assert mse(predictor(image), alpha) < mse(np.zeros_like(alpha), alpha) / 4


def test_a_wheel_holds_the_shipped_networks_their_records_and_their_card(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, tmp_path)
    for name in ("flows", "tasks", "modnet", "infra"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    program = "import setuptools.build_meta as build; print(build.build_wheel('.'))"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        for path in (*SHIPPED_FILES, *FRONT_FILES, CARD):
            assert wheel.read(f"modnet/workloads/matting/weights/{path.name}") == path.read_bytes()
