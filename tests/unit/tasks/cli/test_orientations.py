"""`modnet infer` and `modnet evaluate` with the two IRs of a release, for either orientation."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from modnet.data.images import read_image, write_png
from modnet.export.onnx_to_openvino import convert_ir
from modnet.export.torch_to_onnx import export_onnx
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.predict.openvino_predictors import IrPredictor
from tests.unit.modnet.random_network import random_network
from tests.unit.tasks.cli.conftest import Refuse, Run

NAMES = ("modnet-cpu-fp32.xml", "modnet-turned-cpu-fp32.xml")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the IRs of 96x64 and 64x96 pixels, as a release's target has them."""
    folder, network = tmp_path_factory.mktemp("both"), random_network(ModnetSpec.tiny(), 0)
    for stem, shape in (("modnet", (96, 64)), ("modnet-turned", (64, 96))):
        onnx = export_onnx(network, folder.parent / f"{stem}.onnx", size=shape)
        convert_ir(onnx, folder, targets=["cpu-fp32"], size=shape)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, size in (("upright", (120, 80)), ("across", (80, 120)), ("square", (80, 80))):
        write_png(folder / f"{name}.png", np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8))
    return folder


@pytest.mark.parametrize("way", ["folder", "two paths", "two paths, the turned one first"])
def test_infer_takes_the_ir_that_fits_each_image(way: str, both: Path, photos: Path, tmp_path: Path, run: Run) -> None:
    first, second = NAMES[::-1] if "first" in way else NAMES
    given = [both] if way == "folder" else [both / first, both / second]
    assert run("infer", "--ir", *given, "--input", photos, "--out", tmp_path / "out")["mattes"] == 3
    for name, ir in {"upright": NAMES[0], "across": NAMES[1], "square": first}.items():
        wanted = IrPredictor(both / ir)(read_image(photos / f"{name}.png"))
        got = read_image(tmp_path / "out" / f"{name}.png")[..., 0]
        np.testing.assert_allclose(got / 255, wanted, rtol=0, atol=0.003)


def test_evaluate_says_that_either_was_read(both: Path, archive: Path, run: Run) -> None:
    scores = run("evaluate", "--ir", both, "--dataset", archive)
    assert scores["protocol"] == "device-96x64 or device-64x96"


def test_a_folder_without_an_ir_and_irs_of_one_size_are_refused(
    both: Path, photos: Path, tmp_path: Path, refuse: Refuse
) -> None:
    common = ("infer", "--input", photos, "--out", tmp_path / "out", "--ir")
    code, error = refuse(*common, photos)
    assert (code, "is a folder, wanted a file, or a folder of IRs: it holds no .xml" in error) == (3, True)
    for ending in ("xml", "bin"):
        shutil.copy(both / f"modnet-cpu-fp32.{ending}", tmp_path / f"other.{ending}")
    code, said = refuse(*common, both, tmp_path / "other.xml")
    assert code == 3
    assert "several IRs are of one network at different fixed sizes, got: " in said
    code, said = refuse(*common, both, "--protocol", "device-96x64")
    assert (code, "reads 64×96 pixels only" in said) == (3, True)
