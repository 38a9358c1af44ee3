"""Starting from a published MobileNetV2: its backbone always, its classifier where there are 1000 classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from modnet.backbones.folded_weights import read_folded_classifier
from modnet.errors import CheckpointError
from modnet.workloads.classification.network import MobileNetV2, MobileNetV2Spec
from modnet.workloads.classification.workload import start_from

PUBLISHED = Path(__file__).resolve().parents[6] / "shared" / "weights" / "mobilenetv2_imagenet_qat_dequant.npz"
IMAGES = [torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(seed)) * 2 - 1 for seed in range(2)]


@pytest.mark.skipif(not PUBLISHED.exists(), reason="needs ../shared/weights")
def test_a_network_of_1000_classes_gets_the_classifier_without_its_background() -> None:
    network = MobileNetV2(MobileNetV2Spec.full())
    start_from(network, PUBLISHED, IMAGES)
    with np.load(PUBLISHED) as arrays:
        weight, bias = arrays["classifier.1.weight"], arrays["classifier.1.bias"]
    np.testing.assert_array_equal(network.classifier.weight.detach(), weight[1:, :, 0, 0])
    np.testing.assert_array_equal(network.classifier.bias.detach(), bias[1:])


@pytest.mark.skipif(not PUBLISHED.exists(), reason="needs ../shared/weights")
def test_a_network_of_other_classes_gets_the_backbone_alone() -> None:
    network = MobileNetV2(MobileNetV2Spec.full(("cat", "dog")))
    before = network.classifier.weight.detach().clone()
    stem = network.backbone.stem.conv.weight.detach().clone()
    start_from(network, PUBLISHED, IMAGES)
    assert torch.equal(network.classifier.weight, before)
    assert not torch.equal(network.backbone.stem.conv.weight, stem)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "has no classifier: it lacks classifier.1.weight"),
        (
            {"classifier.1.weight": np.zeros((5, 8), np.float32), "classifier.1.bias": np.zeros(5, np.float32)},
            r"classifier.1.weight: got float32 \(5, 8\), wanted finite float32 \(3, 8\)",
        ),
    ],
    ids=["none", "of other classes"],
)
def test_a_file_without_that_classifier_is_refused(tmp_path: Path, arrays: dict, message: str) -> None:
    np.savez(tmp_path / "weights.npz", **arrays)
    with pytest.raises(CheckpointError, match=message):
        read_folded_classifier(tmp_path / "weights.npz", classes=3, channels=8)
