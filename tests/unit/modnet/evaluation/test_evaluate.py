"""Scores of made-up predictors are known; the shared base scores what is recorded for it."""

import json
from pathlib import Path

import numpy as np
import pytest

from modnet.checkpoint import load
from modnet.data.archives import DatasetIndex, extract_archive, index_dataset
from modnet.data.images import read_pair
from modnet.data.synthetic import write_synthetic_archive
from modnet.errors import DatasetError
from modnet.evaluation.evaluate import evaluate
from modnet.export.predictors import TorchPredictor

SHARED = Path(__file__).resolve().parents[5] / "shared"


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DatasetIndex]:
    folder = tmp_path_factory.mktemp("portraits")
    archive = write_synthetic_archive(folder / "synthetic.zip", train=6, val=3, size=(96, 64), seed=2)
    extracted = extract_archive(archive, folder / "extracted")
    return extracted, index_dataset(extracted)


def test_evaluate_gives_mean_over_images_of_each_image_mean(portraits: tuple[Path, DatasetIndex]) -> None:
    folder, index = portraits
    scores = evaluate(lambda image: np.zeros(image.shape[:2], np.float32), folder, index, "val", "seed")
    alphas = [read_pair(folder / pair.image, folder / pair.matte)[1] for pair in index.val]
    assert scores.mad == pytest.approx(np.mean([alpha.mean() for alpha in alphas]), rel=1e-5)
    assert scores.mse == pytest.approx(np.mean([(alpha**2).mean() for alpha in alphas]), rel=1e-5)
    assert (scores.images, scores.split, scores.protocol) == (3, "val", "seed")
    assert [score.stem for score in scores.per_image] == [pair.stem for pair in index.val]


def test_evaluate_raises_when_predictor_gives_another_size(portraits: tuple[Path, DatasetIndex]) -> None:
    folder, index = portraits
    with pytest.raises(DatasetError, match=r"gave a matte of \(4, 4\), wanted \(96, 64\)"):
        evaluate(lambda image: np.zeros((4, 4), np.float32), folder, index, "val", "seed")


def test_evaluate_raises_when_split_is_empty(portraits: tuple[Path, DatasetIndex]) -> None:
    folder, index = portraits
    empty = index.model_copy(update={"val": ()})
    with pytest.raises(DatasetError, match="nothing to evaluate"):
        evaluate(lambda image: np.zeros(image.shape[:2], np.float32), folder, empty, "val", "seed")


@pytest.mark.skipif(not (SHARED / "weights").is_dir(), reason="the shared base and portraits are not here")
@pytest.mark.slow
def test_evaluate_reproduces_recorded_scores_of_the_shared_base(tmp_path: Path) -> None:
    recorded = json.loads((SHARED / "weights" / "modnet_portraits_base.json").read_text())["val"]
    folder = extract_archive(SHARED / "data" / "portraits.zip", tmp_path)
    network = load(SHARED / "weights" / "modnet_portraits_base.ckpt")
    scores = evaluate(TorchPredictor(network, "seed"), folder, index_dataset(folder), "val", "seed")
    assert scores.images == recorded["images"]
    assert round(scores.mse, 6) == recorded["mse"]
    assert round(scores.mad, 6) == recorded["mad"]
