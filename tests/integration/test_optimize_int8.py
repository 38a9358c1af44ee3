"""`modnet optimize` holds INT8 to its budgets, trains where they are not met, and says of each layer what there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modnet.checkpoint import save_checkpoint
from modnet.data.archives import extract_archive
from modnet.data.images import read_image, write_png
from modnet.export.torch_to_onnx import export_onnx
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.predict.openvino_predictors import OnnxPredictor
from tasks.cli import main
from tests.unit.modnet.random_network import random_network

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network, its ONNX file, and portraits whose mattes are what it makes of them.

    So the float network errs by nothing but the 8 bits of a matte, and rounded weights by more for sure.
    """
    folder = tmp_path_factory.mktemp("given")
    network = random_network(ModnetSpec.tiny(), 0)
    save_checkpoint(network, folder / "network.safetensors", {})
    predictor = OnnxPredictor(export_onnx(network, folder / "model.onnx", size=256))
    torch.manual_seed(1)
    save_checkpoint(MODNet(ModnetSpec.tiny()), folder / "other.safetensors", {})
    archive = write_synthetic_archive(folder / "portraits.zip", train=7, val=2, size=(96, 64), seed=0)
    portraits = extract_archive(archive, folder / "extracted").rename(folder / "portraits")
    for image in portraits.rglob("fg/*"):
        alpha = predictor(read_image(image))
        write_png(next((image.parents[1] / "alpha").glob(f"{image.stem}.*")), np.rint(255 * alpha).astype(np.uint8))
    return folder


@pytest.fixture
def optimize(given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Any:
    monkeypatch.setenv("MODNET_CACHE", str(tmp_path / "cache"))

    def optimize(*flags: object) -> tuple[int, str, str]:
        common = ("--onnx", given / "model.onnx", "--dataset", given / "portraits", "--targets", "cpu-int8")
        arguments = ["optimize", *common, "--calibration-images", 2, "--out", tmp_path / "ir", "--json", *flags]
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return optimize


def test_a_wide_budget_takes_every_layer_in_8_bits_and_says_no_more_of_it_than_there_is(optimize: Any) -> None:
    code, out, error = optimize("--max-relative-mse-increase", 1e6)
    assert code == 0, error
    accuracy = json.loads(out)["cpu-int8 accuracy"]
    assert accuracy["training_steps"] == 0
    assert accuracy["layers"]
    assert all(set(layer) == {"layer"} for layer in accuracy["layers"])
    assert "null" not in out


def test_an_attempt_beyond_the_budget_trains_the_weights_before_it_gives_up(
    given: Path, optimize: Any, tmp_path: Path
) -> None:
    budget = ("--max-relative-mse-increase", 0, "--max-float-layers", 0, "--quantisation-aware-steps", 2)
    code, _, error = optimize(*budget, "--checkpoint", given / "network.safetensors")
    assert (code, "after 2 steps of training with 0 of" in error) == (1, True), error
    assert not (tmp_path / "ir").exists()


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (("--quantisation-aware-steps", 2, "--checkpoint", "other"), 3, "another network than --onnx is of"),
        (("--max-relative-mse-increase", -1), 3, "--max-relative-mse-increase -1.0: "),
        (("--max-float-layers", -1), 3, "--max-float-layers -1: "),
        (("--calibration-images", 0), 3, "--calibration-images 0: "),
        (("--quantisation-aware-steps", 2), 2, "give both or neither"),
    ],
)
def test_budgets_that_make_no_sense_are_refused(
    flags: tuple[object, ...], code: int, words: str, given: Path, optimize: Any, tmp_path: Path
) -> None:
    named = [given / "other.safetensors" if flag == "other" else flag for flag in flags]
    got, _, error = optimize(*named)
    assert (got, words in error) == (code, True), error
    assert not (tmp_path / "ir").exists()
