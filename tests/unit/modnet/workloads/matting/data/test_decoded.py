"""Decoded images are small and bounded, however large the files are."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from modnet.data.decoded_cache import DecodedCache
from modnet.data.images import shrink
from modnet.errors import DatasetError
from modnet.workloads.matting.data.decoded import Decoded, read_shrunk_image, read_shrunk_pair
from modnet.workloads.matting.data.images import read_matte, read_matte16


def test_read_shrunk_pair_keeps_0_and_1_and_aspect(tmp_path: Path) -> None:
    matte = np.zeros((300, 200), np.uint8)
    matte[:, 100:] = 255
    cv2.imwrite(str(tmp_path / "image.png"), np.zeros((300, 200, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "matte.png"), matte)
    image, shrunk = read_shrunk_pair(tmp_path / "image.png", tmp_path / "matte.png", (100, 100))
    assert image.shape == (150, 100, 3)
    assert (shrunk[:, :50] == 0).all()
    assert (shrunk[:, 50:] == 65535).all()


def test_read_shrunk_pair_names_both_files_when_sizes_differ(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "image.png"), np.zeros((30, 20, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "matte.png"), np.zeros((20, 30), np.uint8))
    with pytest.raises(DatasetError, match=r"image\.png is 20 × 30, but its matte .*matte\.png is 30 × 20"):
        read_shrunk_pair(tmp_path / "image.png", tmp_path / "matte.png", (10, 10))


def test_read_shrunk_image_knows_no_person(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "image.png"), np.full((30, 20, 3), 9, np.uint8))
    image, matte = read_shrunk_image(tmp_path / "image.png", (100, 100))
    assert (image == 9).all()
    assert matte.shape == (30, 20)
    assert not matte.any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_read_matte16_is_read_matte_in_steps_of_1_in_65535(tmp_path: Path, dtype: type) -> None:
    values = np.linspace(0, np.iinfo(dtype).max, 300).round().astype(dtype).reshape(15, 20)
    cv2.imwrite(str(tmp_path / "matte.png"), values)
    expected = np.rint(read_matte(tmp_path / "matte.png") * np.float32(65535))
    assert np.array_equal(read_matte16(tmp_path / "matte.png"), expected)


@pytest.mark.parametrize(("size", "expected"), [((1, 1), (1, 1)), ((1, 500), (1, 500)), ((64, 640), (32, 320))])
def test_shrink_leaves_what_is_small_enough(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert shrink(np.zeros(size, np.uint16), (32, 32)).shape == expected


def test_read_shrunk_pair_needs_little_memory_when_image_has_50_megapixels(tmp_path: Path) -> None:
    """Measured in a process of its own, whose peak is not that of other tests."""
    size = (10_000, 5_000)
    cv2.imwrite(str(tmp_path / "image.jpg"), np.full((*size, 3), 90, np.uint8))
    cv2.imwrite(str(tmp_path / "matte.png"), np.full(size, 255, np.uint8))
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from modnet.workloads.matting.data.decoded import read_shrunk_pair\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "image, matte = read_shrunk_pair(Path(sys.argv[1]), Path(sys.argv[2]), (768, 768))\n"
        "assert image.shape == (1536, 768, 3) and matte.min() == 65535, (image.shape, matte.min())\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "image.jpg"), str(tmp_path / "matte.png")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(result.stdout) < 250_000  # KB; the decoded image alone is 150 MB


def decoded(side: int) -> Decoded:
    return np.zeros((side, side, 3), np.uint8), np.zeros((side, side), np.uint16)


def test_decoded_cache_reads_once_what_fits_and_again_what_does_not() -> None:
    reads: list[int] = []

    def read(index: int) -> Decoded:
        reads.append(index)
        return decoded(10)

    cache = DecodedCache(max_bytes=2 * 500 + 499)
    for index in (0, 1, 2, 0, 1, 2):
        cache.get(index, lambda index=index: read(index))
    assert reads == [0, 1, 2, 2]
    assert cache.held_bytes == 1000


def test_decoded_cache_starts_empty_in_another_process() -> None:
    cache = DecodedCache(max_bytes=1000)
    cache.get(0, lambda: decoded(10))
    copied = pickle.loads(pickle.dumps(cache))
    assert (copied.max_bytes, copied.held_bytes) == (1000, 0)
