"""Weights without norms: read under torchvision's names, and given norms that change nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from modnet.backbones.folded_weights import load_folded_backbone, take_statistics
from modnet.backbones.mobilenet_v2 import MobileNetV2Backbone
from modnet.errors import CheckpointError
from modnet.workloads.matting.network.spec import ModnetSpec

PUBLISHED = Path(__file__).resolve().parents[5] / "shared" / "weights" / "deeplabv3_mnv2_voc_dequant.npz"


def full(seed: int) -> MobileNetV2Backbone:
    torch.manual_seed(seed)
    return MobileNetV2Backbone(ModnetSpec.full())  # of the published widths


def images(count: int = 1) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(2, 3, 64, 64, generator=generator) * 2 - 1 for _ in range(count)]


def test_take_statistics_changes_nothing_in_evaluation_and_little_in_training() -> None:
    backbone = full(0).eval().double()
    inputs = [image.double() for image in images()]
    before = backbone(inputs[0])[-1]
    take_statistics(backbone, inputs)
    assert not backbone.training
    torch.testing.assert_close(backbone(inputs[0])[-1], before, rtol=1e-8, atol=1e-10)
    backbone.train()  # the same images: the batch's own statistics are those that were taken
    torch.testing.assert_close(backbone(inputs[0])[-1], before, rtol=1e-4, atol=1e-5)


def test_load_folded_backbone_computes_convolution_and_bias(tmp_path: Path) -> None:
    backbone = full(0)
    generator = np.random.default_rng(0)
    arrays = {}
    for name, shape in shapes().items():
        arrays[name] = generator.normal(0, 0.05, shape).astype(np.float32)
    np.savez(tmp_path / "weights.npz", **arrays)
    assert load_folded_backbone(backbone, tmp_path / "weights.npz", images()) == ()
    image = images()[0]
    weight, bias = (torch.from_numpy(arrays[f"features.0.{i}"]) for i in ("0.weight", "1.bias"))
    by_hand = torch.nn.functional.relu6(torch.nn.functional.conv2d(image, weight, bias, stride=2, padding=1))
    torch.testing.assert_close(backbone.eval().stem(image), by_hand, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not PUBLISHED.exists(), reason="needs ../shared/weights")
def test_load_folded_backbone_reads_a_segmentation_network_without_its_last_layer() -> None:
    backbone = full(0)
    last = backbone.last.conv.weight.clone()
    assert load_folded_backbone(backbone, PUBLISHED, images()) == ("features.18.0.weight",)
    torch.testing.assert_close(backbone.last.conv.weight, last)
    spread = backbone.blocks[0].depthwise.norm.weight
    assert spread.min() >= 0
    assert not torch.equal(spread, torch.ones_like(spread))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(b"PK\x03\x04 cut off"), "cannot read the backbone weights"),
        (lambda path: path.unlink(), "cannot read the backbone weights"),
        (lambda path: write_damaged(path), "cannot read the backbone weights"),
        (lambda path: write_one_array(path), "is one array, wanted an .npz"),
        (lambda path: np.savez(path, classifier=np.zeros(3, np.float32)), "lacks .*features.0.0.weight"),
        (
            lambda path: np.savez(path, **{name: np.zeros((2, 2), np.float32) for name in shapes()}),
            r"got float32 \(2, 2\), wanted finite float32 \(32, 3, 3, 3\)",
        ),
        (
            lambda path: np.savez(
                path, **{name: np.full(shape, np.nan, np.float32) for name, shape in shapes().items()}
            ),
            "wanted finite float32",
        ),
    ],
    ids=["cut off", "missing", "damaged", "one array", "of another backbone", "other shapes", "not a number"],
)
def test_load_folded_backbone_raises_when_the_file_is_not_one(tmp_path: Path, spoil, message: str) -> None:
    path = tmp_path / "weights.npz"
    path.write_bytes(b"")
    spoil(path)
    with pytest.raises(CheckpointError, match=message):
        load_folded_backbone(full(0), path, images())


def write_damaged(path: Path) -> None:
    np.savez_compressed(path, **{"features.0.0.weight": np.zeros(1000, np.float32)})
    content = bytearray(path.read_bytes())
    content[content.index(b".npy") + 30] ^= 0xFF  # within the compressed numbers
    path.write_bytes(content)


def write_one_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3, np.float32))


def shapes() -> dict[str, tuple[int, ...]]:
    from modnet.backbones.folded_weights import _layers

    backbone = full(0)
    found = {}
    for layer, weight_name, bias_name in _layers(backbone):
        found[weight_name] = tuple(layer.conv.weight.shape)
        found[bias_name] = tuple(layer.norm.bias.shape)
    return found
