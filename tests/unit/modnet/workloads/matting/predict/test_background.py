"""Colours and pictures to put a person on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modnet.data.images import write_png
from modnet.errors import ConfigError, DatasetError
from modnet.workloads.matting.predict.results import fit_background, read_background


def test_read_background_gives_one_pixel_when_it_is_a_colour() -> None:
    assert read_background("#00B1ff").tolist() == [[[0, 177, 255]]]


def test_read_background_reads_the_picture_when_it_is_a_file(tmp_path: Path) -> None:
    picture = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    write_png(tmp_path / "beach.png", picture)
    assert np.array_equal(read_background(str(tmp_path / "beach.png")), picture)


@pytest.mark.parametrize("text", ["#fff", "#00gg00", "#", "#00b1400"])
def test_read_background_raises_when_it_is_no_colour(text: str) -> None:
    with pytest.raises(ConfigError, match=f"got '{text}', wanted a colour"):
        read_background(text)


def test_read_background_raises_when_there_is_no_such_file() -> None:
    with pytest.raises(DatasetError, match="green cannot be read"):
        read_background("green")


@pytest.mark.parametrize(
    ("size", "columns"),
    [((4, 4), [2, 3, 4, 5]), ((4, 8), list(range(8))), ((8, 8), None), ((1, 1), None), ((2, 90), None)],
    ids=["narrower", "same", "larger", "one pixel", "far wider"],
)
def test_fit_background_keeps_the_middle_and_never_distorts(size: tuple[int, int], columns: list[int] | None) -> None:
    background = np.broadcast_to(np.arange(8, dtype=np.uint8)[None, :, None], (4, 8, 3)).copy()
    fitted = fit_background(background, *size)
    assert fitted.shape == (*size, 3)
    if columns is not None:
        assert fitted[0, :, 0].tolist() == columns


def test_fit_background_fills_any_size_with_a_colour() -> None:
    assert np.unique(fit_background(read_background("#070707"), 5, 9)).tolist() == [7]
