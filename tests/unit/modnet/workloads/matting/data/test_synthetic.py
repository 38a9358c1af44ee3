from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modnet.data.archives import extract_archive
from modnet.errors import ConfigError, DatasetError
from modnet.graph_function import image_of, pixels_of
from modnet.workloads.matting.data.images import read_pair
from modnet.workloads.matting.data.indexing import index_dataset
from modnet.workloads.matting.data.synthetic import golden_portraits, render_portrait, write_synthetic_archive
from modnet.workloads.matting.data.synthetic_layers import Layers, ellipse


@pytest.mark.parametrize("seed", range(12))
def test_render_portrait_has_person_background_and_hair(seed: int) -> None:
    image, alpha = render_portrait(np.random.default_rng(seed))
    assert image.shape == (384, 288, 3)
    assert image.dtype == np.uint8
    assert alpha.shape == (384, 288)
    assert alpha.dtype == np.float32
    assert (alpha.min(), alpha.max()) == (0.0, 1.0)
    assert 0.2 < (alpha == 1.0).mean() < 0.85
    assert (alpha == 0.0).mean() > 0.1
    assert ((alpha > 0.0) & (alpha < 1.0)).mean() > 0.01  # a bare outline has about 0.005
    assert image.std() > 10


def test_render_portrait_repeats_when_seed_is_the_same() -> None:
    first, second, other = (render_portrait(np.random.default_rng(seed), (96, 80)) for seed in (1, 1, 2))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("size", [(64, 64), (64, 200), (301, 111)])
def test_render_portrait_has_the_wanted_size(size: tuple[int, int]) -> None:
    image, alpha = render_portrait(np.random.default_rng(0), size)
    assert image.shape[:2] == alpha.shape == size


def test_render_portrait_names_size_when_it_is_too_small() -> None:
    with pytest.raises(ConfigError, match="63"):
        render_portrait(np.random.default_rng(0), (96, 63))


def test_layers_composite_exactly_whatever_is_painted() -> None:
    """One colour painted any number of times is that colour at every opacity, and alpha only grows."""
    rng = np.random.default_rng(0)
    layers, before = Layers(40, 30), np.zeros((40, 30), np.float32)
    for _ in range(20):
        outline = ellipse(*rng.uniform(0, 40, 2), *rng.uniform(1, 15, 2))
        layers.fill(outline, (200, 100, 50), float(rng.uniform(0, 1)))
        layers.stroke(rng.uniform(-10, 50, (5, 4, 2)), (200, 100, 50), 0.5, 0.5)
        assert (layers.alpha >= before - 1e-6).all()
        before = layers.alpha.copy()
    assert layers.alpha.max() <= 1.0
    assert np.allclose(layers.colour, layers.alpha[..., None] * np.array([200, 100, 50]), atol=1e-2)


def test_layers_keep_the_matte_when_painting_inside() -> None:
    layers = Layers(40, 30)
    layers.fill(ellipse(15, 20, 8, 8), (10, 20, 30), 0.7)
    alpha = layers.alpha.copy()
    layers.fill(ellipse(15, 20, 30, 30), (200, 100, 50), inside=True)
    assert np.array_equal(layers.alpha, alpha)
    assert np.allclose(layers.colour, alpha[..., None] * np.array([200, 100, 50]), atol=1e-2)


def test_layers_cover_a_pixel_by_its_share_when_a_shape_is_thin() -> None:
    layers = Layers(20, 20)
    layers.stroke(np.array([[(10.5, -5.0), (10.5, 25.0)]]), (255, 255, 255), width=0.25)
    assert 0.2 <= layers.alpha.sum(axis=1).mean() <= 0.3


def test_write_synthetic_archive_becomes_readable_pairs(tmp_path: Path) -> None:
    archive = write_synthetic_archive(tmp_path / "new" / "synthetic.zip", train=3, val=2, size=(96, 80))
    folder = extract_archive(archive, tmp_path)
    index = index_dataset(folder)
    assert (len(index.train), len(index.val)) == (3, 2)
    assert index.train[0].image == "synthetic/train/fg/0000.jpg"
    image, alpha = read_pair(folder / index.val[1].image, folder / index.val[1].matte)
    drawn, exact = render_portrait(np.random.default_rng(np.random.SeedSequence(0, spawn_key=(1, 1))), (96, 80))
    assert np.abs(alpha - exact).max() <= 0.5 / 255 + 1e-6
    assert np.abs(image.astype(float) - drawn).mean() < 6  # JPEG


def test_write_synthetic_archive_gives_equal_bytes_when_arguments_are_equal(tmp_path: Path) -> None:
    first, second, other = (
        write_synthetic_archive(tmp_path / f"{name}.zip", train=1, val=1, size=(64, 64), seed=seed).read_bytes()
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first == second
    assert first != other


def test_write_synthetic_archive_names_counts_when_a_split_would_be_empty(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="0 for val"):
        write_synthetic_archive(tmp_path / "synthetic.zip", val=0)


def test_write_synthetic_archive_names_path_when_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(DatasetError, match="taken"):
        write_synthetic_archive(tmp_path / "taken" / "synthetic.zip", train=1, val=1, size=(64, 64))


@pytest.mark.parametrize("shape", [(480, 320), (32, 64), (1024, 1536)])
def test_golden_portraits_are_the_same_whole_steps_in_any_shape(shape: tuple[int, int]) -> None:
    pixels = golden_portraits(shape)
    assert (pixels.shape, pixels.dtype) == ((3, 3, *shape), np.float32)
    assert set(np.unique(image_of(pixels)) % 8) == {4}
    np.testing.assert_array_equal(pixels_of(image_of(pixels)), pixels)
    np.testing.assert_array_equal(golden_portraits(shape), pixels)
    assert min(np.abs(pixels[0] - pixels[1]).mean(), np.abs(pixels[1] - pixels[2]).mean()) > 0.1
