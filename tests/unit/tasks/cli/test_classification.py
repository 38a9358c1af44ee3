"""The command line on drawn shapes and a tiny classifier: every verb that takes the workload of its checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from modnet.checkpoint import read_checkpoint, save_checkpoint
from modnet.configs import SyntheticConfig
from modnet.workloads.classification.network import MobileNetV2, MobileNetV2Spec
from modnet.workloads.classification.synthetic import CLASSES, draw
from modnet.workloads.classification.workload import CLASSIFICATION
from tasks.cli import main
from tests.unit.tasks.cli.conftest import Refuse, Run


@pytest.fixture
def shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODNET_CACHE", str(tmp_path / "cache"))
    draw(tmp_path / "shapes.zip", SyntheticConfig(train=30, val=6, height=64, width=64))
    return tmp_path / "shapes.zip"


@pytest.fixture
def photo(tmp_path: Path, shapes: Path) -> Path:
    import zipfile

    with zipfile.ZipFile(shapes) as archive:
        name = next(one for one in archive.namelist() if "/val/disc/" in one)
        (tmp_path / "photo.png").write_bytes(archive.read(name))
    return tmp_path / "photo.png"


def saved(folder: Path, classes: tuple[str, ...] = CLASSES, name: str = "classifier.safetensors") -> Path:
    torch.manual_seed(0)
    network = MobileNetV2(MobileNetV2Spec.tiny(classes))
    return save_checkpoint(network, folder / name, {"input_shape": "64x64"})


def test_a_classifier_is_pruned_retrained_evaluated_exported_and_told(
    run: Run, shapes: Path, photo: Path, tmp_path: Path
) -> None:
    before = saved(tmp_path)
    run(
        *("prune", "--checkpoint", before, "--out", tmp_path / "pruned", "--dataset", shapes, "--policy", "uniform"),
        *("--criterion", "taylor", "--taylor-images", 6, "--ratio", 0.5),
    )
    pruned = tmp_path / "pruned/pruned.safetensors"
    inspected = run("inspect", "--checkpoint", pruned)
    assert inspected["spec"]["classes"] == list(CLASSES)
    assert inspected["parameters"] < inspected["before"]["parameters"]
    assert read_checkpoint(pruned, CLASSIFICATION).provenance["input_shape"] == "64x64"

    out = tmp_path / "retrained.safetensors"
    training = ("--epochs", 1, "--batch-size", 8, "--precision", "fp32", "--image-size", 64)
    trained = run(
        *("retrain", "--checkpoint", pruned, "--dataset", shapes, "--out", out, "--teacher", before, *training),
    )
    assert 0 <= trained["tune_error"] <= 1
    kept = read_checkpoint(out, CLASSIFICATION)
    assert kept.network.spec.classes == CLASSES
    assert kept.provenance["retrain"]["distillation"] == {"temperature": 4.0, "shares": 1.0}

    scores = tmp_path / "scores.json"
    evaluated = run("evaluate", "--checkpoint", out, "--dataset", shapes, "--scores", scores)
    assert evaluated["protocol"] == "centre-64x64"
    assert set(evaluated) >= {"top1", "top5", "parameters", "intervals"}

    onnx = run("export", "--checkpoint", out, "--out", tmp_path / "onnx", "--size", "64")["onnx"]
    irs = run(
        *("optimize", "--onnx", onnx, "--out", tmp_path / "ir", "--dataset", shapes, "--calibration-images", 6),
        *("--targets", "cpu-fp32,cpu-int8", "--max-relative-mse-increase", 2),
    )
    same = run(
        *("evaluate", "--ir", irs["cpu-fp32"], "--dataset", shapes, "--compare", scores, "--sheet", tmp_path / "a.png")
    )
    assert same["differences"]["top1"] == {"mean": 0, "low": 0, "high": 0}
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    told = [
        run("infer", flag, path, photo)["answers"] for flag, path in (("--checkpoint", out), ("--ir", irs["cpu-fp32"]))
    ]
    assert told[0] == told[1]
    assert len(told[0]) == 5
    assert {row["class"] for row in told[0]} < set(CLASSES)
    assert sorted((row["share"] for row in told[0]), reverse=True) == [row["share"] for row in told[0]]


def test_sensitivity_of_a_classifier_is_measured(run: Run, shapes: Path, tmp_path: Path) -> None:
    flags = ("--ratios", "0.5", "--images", 2, "--short-side", 64, "--exclude", "backbone.blocks.*")
    found = run(
        *("sensitivity", "--checkpoint", saved(tmp_path), "--dataset", shapes, "--out", tmp_path / "found", *flags)
    )
    assert {curve["group"] for curve in found["curves"]} == {"backbone.last"}


@pytest.mark.slow
def test_train_takes_the_classes_of_the_data_set(run: Run, shapes: Path, tmp_path: Path) -> None:
    out = tmp_path / "trained.safetensors"
    training = ("--epochs", 1, "--batch-size", 8, "--precision", "fp32", "--validation-images", 4)
    run("train", "--workload", "classification", "--dataset", shapes, "--out", out, *training)
    found = read_checkpoint(out, CLASSIFICATION)
    assert found.network.spec == MobileNetV2Spec.full(CLASSES)
    assert found.provenance["input_shape"] == "64x64"


def test_a_data_set_of_other_classes_is_refused_with_their_names(refuse: Refuse, shapes: Path, tmp_path: Path) -> None:
    other = saved(tmp_path, (*CLASSES[:-1], "cow"), "other.safetensors")
    says = r"the network lacks ['triangle'], the data set lacks ['cow']"
    for verb in ("evaluate", "retrain"):
        out = () if verb == "evaluate" else ("--out", tmp_path / "out.safetensors")
        assert says in refuse(verb, "--checkpoint", other, "--dataset", shapes, *out)[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("infer", "--result", "alpha"), "--result goes with networks that cut people out, this one is of 'classif"),
        (("infer", "--protocol", "aspect"), "--protocol goes with workload 'matting', the network is of 'classif"),
        (("adapt", "--images", ".", "--out", "a.safetensors"), "holds a network of workload 'classification', wanted"),
        (("prune", "--policy", "modelcompression", "--out", "a"), "holds a network of workload 'classification'"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_is_mattings_alone_is_refused_in_words(
    refuse: Refuse, photo: Path, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    verb, *flags = arguments
    place = (photo,) if verb == "infer" else ()
    assert says in refuse(verb, *place, "--checkpoint", saved(tmp_path), *flags)[1]


def test_check_counts_the_images_of_class_folders(run: Run, shapes: Path) -> None:
    assert run("dataset", "check", shapes, "--workload", "classification")["data"].startswith("36 images, 0 errors")
    counts = run("dataset", "fetch", shapes, "--workload", "classification")
    assert (counts["fit"], counts["tune"], counts["val"]) == (24, 6, 6)


def test_config_of_a_classification_run_trains_its_network(capsys: pytest.CaptureFixture) -> None:
    assert main(["config", "--workload", "classification", "--json"]) == 0
    config = json.loads(capsys.readouterr().out)["config"]
    assert config["dataset"]["workload"] == "classification"
    assert config["base"]["checkpoint"] is None
    assert set(config["retrain"]["augmentation"]) == {"smallest_crop", "flip", "colour", "blur", "jpeg"}
