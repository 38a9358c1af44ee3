"""The classifier: its published sizes, that all its layers lose channels, and that its classes stay."""

from pathlib import Path

import pytest
import torch

from modnet.checkpoint import read_checkpoint, save_checkpoint
from modnet.configs import PruningConfig, UniformPolicy
from modnet.pruning.complexity import complexity
from modnet.pruning.groups import tensor_slices
from modnet.pruning.plan import plan_pruning
from modnet.pruning.surgery import apply_plan
from modnet.workloads.classification.network import MobileNetV2, MobileNetV2Spec, numbered
from modnet.workloads.classification.workload import CLASSIFICATION
from modnet.workloads.matting.network.spec import ModnetSpec


def test_complexity_equals_published_counts_when_network_is_full() -> None:
    """3.5 M parameters and 300 M multiply-adds at 224×224: Sandler et al. 2018, table 4."""
    cost = complexity(MobileNetV2(MobileNetV2Spec.full()), size=224)
    assert cost.parameters == 3_504_872
    assert cost.macs == pytest.approx(300e6, rel=0.01)


def test_full_classifier_has_the_backbone_of_full_modnet() -> None:
    classifier, matting = MobileNetV2Spec.full(), ModnetSpec.full()
    assert classifier.blocks == matting.blocks
    assert classifier.stem_channels == matting.stem_channels
    assert classifier.last_channels == matting.last_channels


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (65, 47)], ids=str)
def test_forward_gives_one_score_per_class_whatever_the_image_size(size: tuple[int, int]) -> None:
    network = MobileNetV2(MobileNetV2Spec.tiny(numbered(7))).eval()
    with torch.no_grad():
        (logits,) = network(torch.rand(2, 3, *size) * 2 - 1)
    assert logits.shape == (2, 7)
    assert logits.isfinite().all()


@pytest.mark.parametrize("spec", [MobileNetV2Spec.tiny(), MobileNetV2Spec.full(numbered(3))], ids=["tiny", "full"])
def test_channel_groups_cover_every_tensor(spec: MobileNetV2Spec) -> None:
    network = MobileNetV2(spec)
    held = {piece.tensor for piece in tensor_slices(network, network.channel_groups())}
    assert held == {name for name in network.state_dict() if not name.endswith("num_batches_tracked")}


def test_channel_groups_ties_blocks_that_are_added_together() -> None:
    """Blocks 4 to 6 of the published network are one stage of 32 channels with two skips."""
    groups = {group.name: group for group in MobileNetV2(MobileNetV2Spec.full()).channel_groups()}
    stage = groups["backbone.blocks.3.output"]
    assert stage.channels == 32
    assert [producer.module for producer in stage.producers] == [
        f"backbone.blocks.{index}.project.conv" for index in (3, 4, 5)
    ]


def test_pruned_classifier_keeps_its_classes_and_skips() -> None:
    network = MobileNetV2(MobileNetV2Spec.full(("cat", "dog")))
    config = PruningConfig(policy=UniformPolicy(ratio=0.5))
    spec = apply_plan(network, plan_pruning(network, config)).spec
    assert spec.classes == ("cat", "dog")
    assert spec.last_channels == 640
    assert [block.residual for block in spec.blocks] == [block.residual for block in network.spec.blocks]
    assert spec.blocks[1].hidden_channels == 48


def test_classes_outlive_pruning_and_a_checkpoint(tmp_path: Path) -> None:
    network = MobileNetV2(MobileNetV2Spec.tiny(("cat", "dog")))
    pruned = apply_plan(network, plan_pruning(network, PruningConfig(policy=UniformPolicy(ratio=0.5))))
    path = save_checkpoint(pruned, tmp_path / "small.safetensors", {})
    assert read_checkpoint(path, CLASSIFICATION).network.spec.classes == ("cat", "dog")
    assert pruned.output_names == ("cat", "dog")


def test_classes_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"names of their own, got several of \['cat'\]"):
        MobileNetV2Spec.tiny(("cat", "dog", "cat"))
