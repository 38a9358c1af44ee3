"""`modnet infer photo.jpg`: the cut-out beside the photograph, at once, by the shipped network that fits it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from modnet.data.images import read_image, write_png
from modnet.export.openvino_graph import OpenvinoGraph
from modnet.shipped import USUAL
from modnet.workloads.matting.data.protocols import letterbox
from modnet.workloads.matting.data.synthetic import render_portrait
from modnet.workloads.matting.predict.front_predictor import FrontPredictor, target_for
from modnet.workloads.matting.predict.predictors import Predictor, fitting
from modnet.workloads.matting.weights import front_network

PROJECT = Path(__file__).resolve().parents[4]
SIZES = {"portrait": (150, 100), "landscape": (100, 150)}

Run = Callable[..., dict[str, Any]]
Refuse = Callable[..., tuple[int, str]]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODNET_CACHE", str(tmp_path_factory.getbasetemp() / "infer-cache"))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    write_png(tmp_path / "photo.png", render_portrait(np.random.default_rng(0), SIZES["portrait"])[0])
    return tmp_path / "photo.png"


def test_the_cutout_lies_beside_the_photograph(photo: Path, run: Run) -> None:
    written = photo.with_name("photo.cutout.png")
    assert run("infer", photo) == {"written": str(written)}
    picture = cv2.imread(str(written), cv2.IMREAD_UNCHANGED)
    assert picture.shape == (*SIZES["portrait"], 4)
    assert (picture[..., 3].min(), picture[..., 3].max()) == (0, 255)


@pytest.mark.parametrize(
    ("flags", "ending", "channels"),
    [(["--result", "alpha"], "matte", 1), (["--result", "composite", "--background", "#00b140"], "composite", 3)],
    ids=["alpha", "composite"],
)
def test_other_results_lie_beside_it_by_their_own_name(
    flags: list[str], ending: str, channels: int, photo: Path, run: Run
) -> None:
    written = Path(run("infer", photo, *flags)["written"])
    assert written == photo.with_name(f"photo.{ending}.png")
    assert cv2.imread(str(written), cv2.IMREAD_UNCHANGED).size == channels * SIZES["portrait"][0] * SIZES["portrait"][1]


def test_a_result_that_is_there_is_refused_before_anything_is_read_and_replaced_when_told(
    tmp_path: Path, photo: Path, refuse: Refuse, run: Run
) -> None:
    there = tmp_path / "photo.cutout.png"
    there.write_bytes(b"an earlier result")
    code, error = refuse("infer", photo)
    assert (code, f"{there} is there already" in error, "--overwrite" in error) == (3, True, True), error
    assert there.read_bytes() == b"an earlier result"
    run("infer", photo, "--overwrite")
    assert read_image(there).shape == (*SIZES["portrait"], 3)


def test_with_out_it_writes_mattes_as_before_and_input_is_the_same_as_the_photo(
    tmp_path: Path, photo: Path, run: Run
) -> None:
    for number, how in enumerate(([photo], ["--input", photo])):
        found = run("infer", *how, "--out", tmp_path / str(number))
        assert found == {"mattes": 1, "folder": str(tmp_path / str(number))}
    first, second = (cv2.imread(str(tmp_path / name / "photo.png"), cv2.IMREAD_UNCHANGED) for name in "01")
    assert first.shape == SIZES["portrait"]
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(("direction", "size"), SIZES.items())
def test_a_picture_takes_the_shape_that_fits_it(direction: str, size: tuple[int, int]) -> None:
    network = front_network(USUAL)
    height, width = network.shape
    shape = (max(height, width), min(height, width))
    shape = shape if direction == "portrait" else shape[::-1]
    graph = OpenvinoGraph(network.irs[target_for("cpu")], shape=shape)
    image = render_portrait(np.random.default_rng(1), size)[0]
    np.testing.assert_array_equal(FrontPredictor(USUAL)(image), Predictor(graph, letterbox(shape))(image))


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((825, 550), 0), ((550, 825), 1), ((500, 500), 0), ((4000, 100), 0), ((500, 501), 1)],
)
def test_the_shape_is_the_nearest_by_aspect_and_the_first_for_a_square(size: tuple[int, int], wanted: int) -> None:
    shapes = ((480, 320), (320, 480))
    assert fitting(shapes, size) == shapes[wanted]
    assert fitting([(512, 512)], size) == (512, 512)


def test_a_folder_may_hold_pictures_of_both_directions(tmp_path: Path, run: Run) -> None:
    (tmp_path / "photos").mkdir()
    for name, size in SIZES.items():
        write_png(tmp_path / "photos" / f"{name}.png", render_portrait(np.random.default_rng(2), size)[0])
    assert run("infer", "--input", tmp_path / "photos", "--out", tmp_path / "out", "--model", "fast")["mattes"] == 2
    for name, size in SIZES.items():
        assert read_image(tmp_path / "out" / f"{name}.png").shape == (*size, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say once what to cut people out of: modnet infer photo.jpg"),
        (["{photo}", "--input", "{photo}"], "say once what to cut people out of"),
        (["{folder}"], "is a folder: say with --out which folder its results go to"),
        (["--input", "clip.mp4"], "clip.mp4 is a video: say with --out which folder"),
        (["{photo}", "--model", "fast", "--ir", "x.xml"], "--model names a network, so do --checkpoint, --onnx and"),
        (["{photo}", "--model", "best", "--checkpoint", "shipped"], "give one of them"),
        (["{photo}", "--model", "best", "--onnx", "x.onnx"], "give one of them"),
        (["{photo}", "--protocol", "aspect"], "as --checkpoint shipped"),
        (["{photo}", "--prune-info", "x.json"], "--prune-info would do nothing: it goes with --checkpoint"),
        (["{photo}", "--device", "cuda"], "--checkpoint shipped-balanced --device cuda"),
        (["{photo}", "--background", "#ffffff"], "goes with --result composite, and only with it"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_infer_says_what_to_type_instead(
    arguments: list[str], message: str, tmp_path: Path, photo: Path, refuse: Refuse
) -> None:
    code, error = refuse("infer", *(word.format(photo=photo, folder=tmp_path) for word in arguments))
    assert (code, message in error) == (2, True), error
    assert list(tmp_path.iterdir()) == [photo]


def test_a_device_that_is_not_there_is_refused_before_anything_is_written(
    photo: Path, tmp_path: Path, refuse: Refuse
) -> None:
    code, error = refuse("infer", photo, "--device", "xpu", "--out", tmp_path / "out")
    assert (code, "no device XPU: OpenVINO" in error) == (3, True), error
    assert not (tmp_path / "out").exists()


def test_an_unknown_model_is_refused_with_those_that_there_are(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tasks.cli import main

    with pytest.raises(SystemExit) as caught:
        main(["infer", str(photo), "--model", "worst"])
    assert caught.value.code == 2
    assert "invalid choice: 'worst' (choose from 'fast', 'balanced', 'best')" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["gone.jpg"], ["--input", "gone.jpg", "--out", "out"]], ids=["beside", "out"])
def test_a_photograph_that_is_not_there_is_named(
    arguments: list[str], tmp_path: Path, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, error = refuse("infer", *arguments)
    assert (code, "gone.jpg cannot be read: No such file" in error) == (3, True), error


def test_a_cutout_needs_neither_torch_nor_pydantic(photo: Path) -> None:
    """They take longer to import than everything else that one picture needs."""
    program = """
import json, sys
from tasks.cli import main
assert main(["infer", sys.argv[1]]) == 0
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(photo)], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    imported = set(json.loads(done.stdout.splitlines()[-1]))
    assert {"numpy", "cv2", "openvino", "PIL"} <= imported
    assert imported.isdisjoint({"torch", "pydantic", "av", "onnx", "nncf", "matplotlib", "safetensors", "boto3"})
    assert photo.with_name("photo.cutout.png").exists()
