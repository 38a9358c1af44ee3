"""What scores are measured on is not learnt from."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from modnet.data.images import Image, write_png
from modnet.errors import DatasetError
from modnet.workloads.matting.data.copies import require_no_copies
from modnet.workloads.matting.data.synthetic import render_portrait


@pytest.fixture(scope="module")
def portraits() -> list[Image]:
    return [render_portrait(np.random.default_rng(seed), (192, 128))[0] for seed in range(6)]


def written(folder: Path, images: list[Image], first: int = 0) -> list[Path]:
    folder.mkdir()
    for number, image in enumerate(images, start=first):
        write_png(folder / f"{number}.png", image)
    return sorted(folder.iterdir())


def test_other_portraits_are_no_copies(portraits: list[Image], tmp_path: Path) -> None:
    require_no_copies(written(tmp_path / "learnt", portraits[:3]), written(tmp_path / "scored", portraits[3:]))


def test_a_smaller_picture_of_poor_quality_is_a_copy(portraits: list[Image], tmp_path: Path) -> None:
    _, encoded = cv2.imencode(".jpg", cv2.resize(portraits[4], (64, 96)), [cv2.IMWRITE_JPEG_QUALITY, 60])
    copy = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    learnt = written(tmp_path / "learnt", [portraits[0], copy])
    scored = written(tmp_path / "scored", portraits[3:], first=10)
    with pytest.raises(DatasetError, match=r"1 of 2 unlabelled images are copies of .*: 1\.png is 11\.png; leave"):
        require_no_copies(learnt, scored)


def test_what_cannot_be_read_is_left_to_the_training(portraits: list[Image], tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    require_no_copies([tmp_path / "broken.png"], written(tmp_path / "scored", portraits[:1]))
