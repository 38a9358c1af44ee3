"""Scores of made-up predictors are known; the shared base scores what is recorded for it."""

import json
from pathlib import Path

import numpy as np
import pytest

from modnet.data.archives import extract_archive
from modnet.errors import DatasetError
from modnet.records import Scores
from modnet.workloads.matting.checkpoint import load
from modnet.workloads.matting.data.images import read_pair
from modnet.workloads.matting.data.indexing import DatasetIndex, index_dataset
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.evaluate import evaluate, score_image
from modnet.workloads.matting.metrics import ERROR_NAMES
from modnet.workloads.matting.names import ALL_METRICS
from modnet.workloads.matting.predict.predictors import TorchPredictor

SHARED = Path(__file__).resolve().parents[6] / "shared"


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DatasetIndex]:
    folder = tmp_path_factory.mktemp("portraits")
    archive = write_synthetic_archive(folder / "synthetic.zip", train=6, val=3, size=(96, 64), seed=2)
    extracted = extract_archive(archive, folder / "extracted")
    return extracted, index_dataset(extracted)


def test_evaluate_gives_mean_over_images_of_each_image_mean(portraits: tuple[Path, DatasetIndex]) -> None:
    folder, index = portraits
    scores = evaluate(lambda image: np.zeros(image.shape[:2], np.float32), folder, index, "val", "modelcompression")
    alphas = [read_pair(folder / pair.image, folder / pair.matte)[1] for pair in index.val]
    assert scores.errors["mad"] == pytest.approx(np.mean([alpha.mean() for alpha in alphas]), rel=1e-5)
    assert scores.errors["mse"] == pytest.approx(np.mean([(alpha**2).mean() for alpha in alphas]), rel=1e-5)
    assert (scores.images, scores.split, scores.protocol) == (3, "val", "modelcompression")
    assert [score.stem for score in scores.per_image] == [pair.stem for pair in index.val]


def test_evaluate_raises_when_predictor_gives_another_size(portraits: tuple[Path, DatasetIndex]) -> None:
    folder, index = portraits
    with pytest.raises(DatasetError, match=r"gave a matte of \(4, 4\), wanted \(96, 64\)"):
        evaluate(lambda image: np.zeros((4, 4), np.float32), folder, index, "val", "modelcompression")


@pytest.mark.parametrize("value", [np.nan, 1.5, -0.5], ids=["not a number", "above 1", "below 0"])
def test_evaluate_raises_and_names_the_image_when_predictor_gives_no_alpha(
    portraits: tuple[Path, DatasetIndex], value: float
) -> None:
    folder, index = portraits
    with pytest.raises(DatasetError, match=rf"{index.val[0].stem}: the predictor gave values from .*wanted \[0, 1\]"):
        evaluate(lambda image: np.full(image.shape[:2], value, np.float32), folder, index, "val", "modelcompression")


def test_evaluate_names_the_file_when_an_image_cannot_be_read(portraits: tuple[Path, DatasetIndex]) -> None:
    folder, index = portraits
    gone = index.val[0].model_copy(update={"image": "gone/0000.png"})
    broken = index.model_copy(update={"val": (gone,)})
    with pytest.raises(DatasetError, match=r"gone/0000\.png cannot be read"):
        evaluate(lambda image: np.zeros(image.shape[:2], np.float32), folder, broken, "val", "modelcompression")


def test_evaluate_names_every_pair_that_cannot_be_read_at_once(portraits: tuple[Path, DatasetIndex]) -> None:
    folder, index = portraits
    first, second, third = index.val
    gone = [pair.model_copy(update={"image": f"gone/{pair.stem}.png"}) for pair in (first, third)]
    broken = index.model_copy(update={"val": (gone[0], second, gone[1])})
    message = rf"2 of 3 pairs .* cannot be read: .*gone/{first.stem}\.png.*; .*gone/{third.stem}\.png"
    with pytest.raises(DatasetError, match=message):
        evaluate(lambda image: np.zeros(image.shape[:2], np.float32), folder, broken, "val", "modelcompression")


def test_evaluate_measures_everything_when_all_metrics_are_asked_for(portraits: tuple[Path, DatasetIndex]) -> None:
    folder, index = portraits
    scores = evaluate(
        lambda image: np.zeros(image.shape[:2], np.float32), folder, index, "val", "modelcompression", ALL_METRICS
    )
    assert tuple(scores.errors) == ERROR_NAMES
    for name, mean in scores.errors.items():
        assert mean == pytest.approx(np.mean([image.errors[name] for image in scores.per_image]))
    assert scores.images_with("unknown_mse") == 3
    few = evaluate(lambda image: np.zeros(image.shape[:2], np.float32), folder, index, "val", "modelcompression")
    assert few.errors == {name: scores.errors[name] for name in ("mse", "mad", "unknown_mse", "unknown_mad")}


@pytest.mark.parametrize("value", [0, 1], ids=["nobody", "person everywhere"])
def test_score_image_has_no_errors_of_the_unknown_band_when_there_is_none(value: int) -> None:
    alpha = np.full((30, 20), value, np.float32)
    score = score_image("a", np.full_like(alpha, 0.5), alpha, ALL_METRICS)
    assert (score.errors["mse"], score.errors["mad"], score.errors["sad"]) == (0.25, 0.5, 0.3)
    assert set(score.errors) == set(ALL_METRICS)


def test_score_image_measures_an_image_of_one_pixel() -> None:
    score = score_image("a", np.array([[1]], np.float32), np.array([[0.5]], np.float32), ALL_METRICS)
    assert (score.errors["mse"], score.errors["unknown_mse"]) == (0.25, 0.25)
    assert score.errors["grad"] == pytest.approx(0, abs=1e-12)


def test_scores_of_version_0_1_read() -> None:
    old = (
        '{"split": "val", "protocol": "seed", "images": 1, "mse": 0.5, "mad": 0.25, "sad": null, "unknown_images": 0, '
        '"per_image": [{"stem": "a", "mse": 0.5, "mad": 0.25, "sad": null, "unknown_pixels": 0}]}'
    )
    scores = Scores.model_validate_json(old)
    assert (scores.error, scores.errors) == (0.5, {"mse": 0.5, "mad": 0.25})
    assert scores.per_image[0].errors == scores.errors


def test_evaluate_raises_when_split_is_empty(portraits: tuple[Path, DatasetIndex]) -> None:
    folder, index = portraits
    empty = index.model_copy(update={"val": ()})
    with pytest.raises(DatasetError, match="nothing to evaluate"):
        evaluate(lambda image: np.zeros(image.shape[:2], np.float32), folder, empty, "val", "modelcompression")


@pytest.mark.skipif(not (SHARED / "weights").is_dir(), reason="the shared base and portraits are not here")
@pytest.mark.slow
def test_evaluate_reproduces_recorded_scores_of_the_shared_base(tmp_path: Path) -> None:
    recorded = json.loads((SHARED / "weights" / "modnet_portraits_base.json").read_text())["val"]
    folder = extract_archive(SHARED / "data" / "portraits.zip", tmp_path)
    network = load(SHARED / "weights" / "modnet_portraits_base.ckpt")
    scores = evaluate(
        TorchPredictor(network, "modelcompression"), folder, index_dataset(folder), "val", "modelcompression"
    )
    assert scores.images == recorded["images"]
    assert round(scores.errors["mse"], 6) == recorded["mse"]
    assert round(scores.errors["mad"], 6) == recorded["mad"]
