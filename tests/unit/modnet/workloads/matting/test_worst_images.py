"""The sheet shows the images of largest error, the worst first."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modnet.data.archives import extract_archive
from modnet.data.images import Image
from modnet.workloads.matting.data.images import Alpha
from modnet.workloads.matting.data.indexing import index_dataset
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.evaluate import evaluate
from modnet.workloads.matting.names import SHEET_IMAGES
from modnet.workloads.matting.worst_images import worst_images, worst_sheet


def predictor(image: Image) -> Alpha:
    return np.zeros(image.shape[:2], np.float32)


def test_worst_sheet_draws_what_worst_images_names(tmp_path: Path) -> None:
    archive = write_synthetic_archive(tmp_path / "s.zip", train=6, val=SHEET_IMAGES + 2, size=(96, 64), seed=2)
    folder = extract_archive(archive, tmp_path / "extracted")
    index = index_dataset(folder)
    scores = evaluate(predictor, folder, index, "val", "modelcompression")
    worst = worst_images(scores)
    assert len(worst) == SHEET_IMAGES
    assert [one.error for one in worst] == sorted((one.error for one in scores.per_image), reverse=True)[:SHEET_IMAGES]
    assert worst_sheet(predictor, folder, index, scores).startswith(b"\x89PNG")
