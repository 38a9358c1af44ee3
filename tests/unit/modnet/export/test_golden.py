from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from infra.device.measuring import golden as on_devices
from infra.device.measuring.runtime import load_ir
from modnet.export.golden import (
    INT8_FACTOR,
    LEAST_IN_HALF,
    MAX_BYTES,
    STEPS,
    GoldenImages,
    golden_images,
    rounded_to_bfloat16,
    tolerance,
    worst_difference,
    write_golden,
)
from modnet.graph_function import Pixels, TorchGraph, image_of
from modnet.targets import OPEN_SIDE, VARIANTS
from modnet.workloads.matting.data.synthetic import golden_portraits
from tests.unit.modnet.brightness import BrightnessNetwork, BrightnessSpec, golden

SHAPE = (64, 96)


def halved(pixels: Pixels) -> Pixels:
    return pixels[:, :1] / 2


def test_golden_images_hold_the_outputs_rounded_to_steps() -> None:
    images = golden_images(golden(SHAPE), halved)
    assert (images.pixels.shape, images.outputs.shape) == ((2, 3, *SHAPE), (2, 1, *SHAPE))
    assert (images.pixels.dtype, images.outputs.dtype) == (np.float32, np.float32)
    np.testing.assert_array_equal(images.outputs * STEPS, np.rint(images.outputs * STEPS))
    assert 0 < worst_difference(images, halved) <= 0.5 / STEPS


def test_golden_images_are_as_many_as_a_device_unpacks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_BYTES + 2 * 1000 < on_devices.MAX_GOLDEN_BYTES  # the headers of two arrays
    of_one = 4 * (3 + 1) * SHAPE[0] * SHAPE[1]
    for count in (2, 1, 0):
        monkeypatch.setattr("modnet.export.golden.MAX_BYTES", (count + 1) * of_one - 1)
        assert len(golden_images(golden(SHAPE), halved).pixels) == count


def test_worst_difference_is_the_mean_of_the_worst_image() -> None:
    images = GoldenImages(golden(SHAPE), np.zeros((2, 1, *SHAPE), np.float32))

    def off(pixels: Pixels) -> Pixels:
        of_second = np.array_equal(pixels[0], images.pixels[1])
        return np.full((1, 1, *SHAPE), -0.25 if of_second else 0.125, np.float32)

    assert worst_difference(images, off) == 0.25


@pytest.mark.parametrize(
    ("target", "difference", "wanted"),
    [
        ("cpu-fp32", 1e-4, 1e-3),  # the geometric middle of 1e-4 and 1e-2
        ("cpu-fp16", 4e-3, 8e-3),  # twice its own, where that is more
        ("cpu-fp32-dynamic", 0.0, (1e-2 / (4 * STEPS)) ** 0.5),  # not zero: the outputs are rounded
        ("cpu-int8", 1e-2, INT8_FACTOR * 1e-2),
        ("ncs2-fp16", 1e-4, LEAST_IN_HALF),
        ("ncs2-fp16", 1e-2, 2e-2),
    ],
)
def test_tolerance_is_by_what_the_target_computes_in(target: str, difference: float, wanted: float) -> None:
    assert tolerance(VARIANTS[target], difference, 1e-2) == pytest.approx(wanted)


def test_what_half_precision_loses_grows_with_the_outputs() -> None:
    images = GoldenImages(np.zeros((1, 3, 2, 2), np.float32), np.array([[-8.0, 2.0]], np.float32))
    assert images.scale == 8
    assert tolerance(VARIANTS["ncs2-fp16"], 0.0, 1e-2, images.scale) == pytest.approx(8 * 5e-3)
    assert GoldenImages(images.pixels, np.full((1, 1, 2, 2), 0.5, np.float32)).scale == 1


def test_rounded_to_bfloat16_rounds_weights_and_the_output_of_each_layer() -> None:
    torch.manual_seed(0)
    network = BrightnessNetwork(BrightnessSpec.tiny()).eval()
    pixels = golden(SHAPE)[:1]
    with torch.inference_mode():
        wanted = torch.tensor(pixels)
        for layer in network.deployed():
            rounded = {name: value.bfloat16().float() for name, value in layer.named_parameters()}
            wanted = torch.func.functional_call(layer, rounded, wanted).bfloat16().float()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    np.testing.assert_array_equal(rounded_to_bfloat16(network)(pixels), wanted.numpy())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert 1e-4 < np.abs(wanted.numpy() - TorchGraph(network)(pixels)).mean() < 1e-2


@pytest.mark.parametrize("input_format", ["float-nchw", "uint8-nhwc"])
def test_write_golden_gives_the_same_bytes_each_time_and_the_pixels_that_an_ir_reads(
    tmp_path: Path, input_format: str
) -> None:
    images = golden_images(golden_portraits(SHAPE), halved)
    first, second = (write_golden(tmp_path / name, images, input_format).read_bytes() for name in ("a.npz", "b.npz"))
    assert first == second
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert sorted(arrays) == ["inputs", "outputs"]
        np.testing.assert_array_equal(arrays["outputs"], images.outputs)
        is_image = input_format == "uint8-nhwc"
        np.testing.assert_array_equal(arrays["inputs"], image_of(images.pixels) if is_image else images.pixels)
        assert arrays["inputs"].dtype == (np.uint8 if is_image else np.float32)


def test_an_open_network_is_measured_at_the_side_that_its_golden_images_have() -> None:
    defaults = load_ir.__kwdefaults__
    assert defaults is not None
    assert defaults["open_side"] == OPEN_SIDE
