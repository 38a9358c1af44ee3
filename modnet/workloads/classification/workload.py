"""Image classification as the engine sees it."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from modnet.backbones.folded_weights import load_folded_backbone, read_folded_classifier
from modnet.errors import ConfigError
from modnet.workload import Workload
from modnet.workloads.classification.labelled import ClassFolders
from modnet.workloads.classification.losses import SharesOfTeacher, class_error, class_loss
from modnet.workloads.classification.network import MobileNetV2, MobileNetV2Spec
from modnet.workloads.classification.synthetic import golden_images

IMAGENET_CLASSES = 1000


def start_from(network: MobileNetV2, path: Path, images: Sequence[Tensor]) -> None:
    """Gives an unpruned classifier a published backbone; one of 1000 classes the published classifier as well.

    ImageNet's classes are in the order of their folders' names (n01440764, …), as a data set's are.
    """
    load_folded_backbone(network.backbone, path, images)
    if len(network.spec.classes) == IMAGENET_CLASSES:
        weight, bias = read_folded_classifier(path, IMAGENET_CLASSES, network.spec.last_channels)
        with torch.no_grad():
            network.classifier.weight.copy_(weight)
            network.classifier.bias.copy_(bias)


def require_same_classes(classes: Sequence[str], data: ClassFolders) -> None:
    """Refuses a network of other classes than a data set has.

    Raises:
        ConfigError: classes or their order differ; names the first that do.
    """
    if tuple(classes) != data.classes:
        lacks = [name for name in data.classes if name not in classes][:5]
        more = [name for name in classes if name not in data.classes][:5]
        raise ConfigError(
            f"the network knows {len(classes)} classes, data set {data.folder} has {len(data.classes)}; wanted "
            f"the same in one order: the network lacks {lacks or 'none'}, the data set lacks {more or 'none'}"
        )


CLASSIFICATION = Workload(
    name=MobileNetV2.workload,
    spec=MobileNetV2Spec,
    network=MobileNetV2,
    loss=class_loss,
    errors={"top1": "top-1 error", "top5": "top-5 error"},
    error=class_error,
    open=ClassFolders,
    unpruned_for=lambda data: MobileNetV2Spec.full(data.classes),
    require_fit=require_same_classes,
    golden=golden_images,
    teaching=SharesOfTeacher,
    start_from=start_from,
)
