from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from modnet.data.images import normalise, resize
from modnet.errors import ConfigError, DatasetError
from modnet.workloads.matting.data.preprocessing import prepare, restore
from modnet.workloads.matting.data.protocols import OPEN_PROTOCOLS, Protocol

Array = NDArray[Any]
PROTOCOLS = (*OPEN_PROTOCOLS, "device-256", "device-512", "device-640", "device-480x320", "device-288x512")


def random_image(height: int = 7, width: int = 5, dtype: Any = np.uint8, channels: tuple[int, ...] = (3,)) -> Array:
    largest = np.iinfo(dtype).max
    return np.random.default_rng(0).integers(0, largest, (height, width, *channels), dtype=dtype, endpoint=True)


@pytest.mark.parametrize(
    ("protocol", "image_size", "input_size"),
    [
        ("modelcompression", (600, 800), (512, 672)),  # both sides above: short 512, long int(682.67) floored
        ("modelcompression", (800, 600), (672, 512)),
        ("modelcompression", (300, 400), (512, 672)),  # both below
        ("modelcompression", (500, 801), (480, 800)),  # 512 in between: kept, floored
        ("modelcompression", (512, 512), (512, 512)),
        ("modelcompression", (1, 1), (512, 512)),
        ("aspect", (600, 800), (512, 672)),  # 682.67 is nearer to 672 than to 704
        ("aspect", (825, 550), (768, 512)),
        ("aspect", (500, 801), (512, 832)),  # 820.2
        ("aspect", (512, 528), (512, 544)),  # half up
        ("aspect", (1, 1), (512, 512)),
        ("device-512", (600, 800), (512, 512)),
        ("device-512", (1, 3000), (512, 512)),
        ("device-512", (1, 1), (512, 512)),
        ("device-320", (600, 800), (320, 320)),
        ("device-480x320", (825, 550), (480, 320)),
        ("device-288x512", (825, 550), (288, 512)),
    ],
)
def test_prepare_gives_the_size_of_its_protocol(
    protocol: Protocol, image_size: tuple[int, int], input_size: tuple[int, int]
) -> None:
    prepared = prepare(np.zeros((*image_size, 3), np.uint8), protocol)
    assert prepared.pixels.shape == (1, 3, *input_size)
    assert prepared.pixels.dtype == np.float32
    assert prepared.geometry.input_size == input_size
    assert restore(np.zeros(input_size, np.float32), prepared.geometry).shape == image_size


def test_prepare_and_restore_follow_modelcompression_step_by_step() -> None:
    image = random_image(530, 700)
    normalised = (torch.from_numpy(image).permute(2, 0, 1)[None] / 255.0 - 0.5) / 0.5
    wanted = interpolate(normalised, size=(512, 672), mode="area")  # int(700 / 530 * 512) = 676
    prepared = prepare(image, "modelcompression")
    assert np.allclose(prepared.pixels, wanted.numpy(), rtol=0, atol=1e-6)
    alpha = torch.rand(1, 1, 512, 672, generator=torch.Generator().manual_seed(0))
    back = restore(alpha[0, 0].numpy(), prepared.geometry)
    assert np.array_equal(back, interpolate(alpha, size=(530, 700), mode="area")[0, 0].numpy())


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("size", [(600, 800), (301, 200), (90, 333)])
def test_restore_puts_a_matte_back_where_the_image_had_it(protocol: Protocol, size: tuple[int, int]) -> None:
    """A network that copies its input must give back the picture, unmoved and of its size."""
    y, x = np.mgrid[: size[0], : size[1]]
    alpha = (0.5 + 0.5 * np.sin(9 * y / size[0]) * np.sin(7 * x / size[1])).astype(np.float32)
    image = np.repeat(np.rint(alpha * 255).astype(np.uint8)[..., None], 3, axis=2)
    prepared = prepare(image, protocol)
    restored = restore((prepared.pixels[0, 0] + 1) / 2, prepared.geometry)
    assert restored.dtype == np.float32
    assert np.abs(restored - alpha).max() < 0.03


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("value", [0, 51, 255])
def test_prepare_keeps_a_constant_image_constant_and_normalised(protocol: Protocol, value: int) -> None:
    prepared = prepare(np.full((530, 700, 3), value, np.uint8), protocol)
    (top, left), (height, width) = prepared.geometry.content_offset, prepared.geometry.content_size
    content = prepared.pixels[..., top : top + height, left : left + width]
    assert np.allclose(content, value / 127.5 - 1, rtol=0, atol=1e-6)


def test_prepare_keeps_the_order_of_colours() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., 0] = 255
    for protocol in PROTOCOLS:
        pixels = prepare(image, protocol).pixels[0]
        assert pixels[:, pixels.shape[1] // 2, pixels.shape[2] // 2].tolist() == [1.0, -1.0, -1.0]


def test_prepare_pads_with_mid_grey_when_protocol_is_device_512() -> None:
    prepared = prepare(np.full((300, 400, 3), 255, np.uint8), "device-512")
    assert prepared.geometry.content_size == (384, 512)
    assert prepared.geometry.content_offset == (64, 0)
    assert (prepared.pixels[..., :64, :] == 0).all()
    assert (prepared.pixels[..., 448:, :] == 0).all()
    assert (prepared.pixels[..., 64:448, :] == 1).all()


@pytest.mark.parametrize(
    ("image_size", "content_size", "offset"),
    [((600, 400), (480, 320), (0, 0)), ((400, 600), (213, 320), (133, 0)), ((900, 300), (480, 160), (0, 80))],
    ids=["of its aspect", "wider", "narrower"],
)
def test_a_letterbox_is_filled_in_one_direction(
    image_size: tuple[int, int], content_size: tuple[int, int], offset: tuple[int, int]
) -> None:
    geometry = prepare(np.zeros((*image_size, 3), np.uint8), "device-480x320").geometry
    assert (geometry.content_size, geometry.content_offset) == (content_size, offset)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_restore_clips_when_the_network_overshoots(protocol: Protocol) -> None:
    geometry = prepare(random_image(40, 50), protocol).geometry
    assert (restore(np.full(geometry.input_size, 1.5, np.float32), geometry) == 1.0).all()
    assert (restore(np.full(geometry.input_size, -0.5, np.float32), geometry) == 0.0).all()


@pytest.mark.parametrize(
    ("protocol", "size"), [("modelcompression", (20, 600)), ("modelcompression", (1, 100)), ("aspect", (1, 3000))]
)
def test_prepare_refuses_an_image_when_it_is_a_sliver(protocol: Protocol, size: tuple[int, int]) -> None:
    with pytest.raises(DatasetError, match=f"{size[1]} × {size[0]}.*too narrow"):
        prepare(np.zeros((*size, 3), np.uint8), protocol)


def test_prepare_names_the_protocols_when_it_knows_none_of_that_name() -> None:
    with pytest.raises(ConfigError, match=r"'square', wanted modelcompression, aspect, or a letterbox"):
        prepare(random_image(), "square")


def test_restore_names_both_sizes_when_alpha_has_another() -> None:
    geometry = prepare(random_image(40, 50), "device-512").geometry
    with pytest.raises(ValueError, match=r"\(512, 512\), got \(40, 50\)"):
        restore(np.zeros((40, 50), np.float32), geometry)


def test_resize_averages_when_shrinking_and_keeps_type() -> None:
    values = np.array([[0, 1000], [3000, 4000]], np.uint16)
    assert resize(values, 1, 1).tolist() == [[2000]]
    assert resize(values, 4, 4).dtype == np.uint16


def test_resize_interpolates_when_a_side_grows() -> None:
    assert resize(np.array([[0.0, 100.0]]), 1, 4).tolist() == [[0.0, 25.0, 75.0, 100.0]]


def test_normalise_maps_0_to_minus_1_and_255_to_1() -> None:
    pixels = normalise(np.array([[[0, 255, 51]]], np.uint8))
    assert pixels.shape == (3, 1, 1)
    assert np.allclose(pixels.flatten(), [-1.0, 1.0, -0.6])
