"""What a classifier is trained on: the true class, and the shares that a teacher gives."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modnet.errors import ConfigError
from modnet.network import PrunableNetwork
from modnet.workload import Sample
from modnet.workloads.classification.dataset import ClassSample
from modnet.workloads.classification.network import ClassPrediction, MobileNetV2
from modnet.workloads.classification.settings import ClassDistillation


def class_loss(prediction: ClassPrediction, batch: ClassSample) -> dict[str, Tensor]:
    """Cross-entropy of the true classes, the mean over the batch."""
    return {"cross_entropy": F.cross_entropy(prediction.logits, batch.label)}


def class_error(network: PrunableNetwork, batch: Sequence[Tensor]) -> Tensor:
    """Cross-entropy of each image of a batch, (B,): what stands for the top-1 error where that must be differentiable.

    `batch` is image (B, 3, h, w) and label (B,), as in `ClassSample`.
    """
    image, label = batch
    return F.cross_entropy(network.deployed()(image), label, reduction="none")


class SharesOfTeacher:
    """A teacher beside its student (Hinton et al. 2015, arXiv 1503.02531). It has no adapters."""

    def __init__(self, teacher: MobileNetV2, student: MobileNetV2, config: ClassDistillation) -> None:
        """Freezes the teacher.

        Raises:
            ConfigError: it knows other classes than the student.
        """
        if teacher.spec.classes != student.spec.classes:
            named = " and ".join(str(list(one.spec.classes[:3]))[:-1] + ", …]" for one in (teacher, student))
            raise ConfigError(f"teacher and student know other classes: got {named}, wanted the same in one order")
        self.adapters = nn.ModuleList()
        self._teacher, self._config = teacher.eval().requires_grad_(False), config

    def learn(
        self, student: MobileNetV2, inputs: Sample, predict: Callable[[MobileNetV2, Sample], Any]
    ) -> tuple[ClassPrediction, dict[str, Tensor]]:
        """What the student predicts, and weight · T² · KL(teacher's shares ‖ student's), both at the temperature T."""
        predicted = predict(student, inputs)
        with torch.no_grad():
            target = predict(self._teacher, inputs)
        heat = self._config.temperature
        own, wanted = (F.log_softmax(one.logits / heat, dim=1) for one in (predicted, target))
        divergence = F.kl_div(own, wanted, reduction="batchmean", log_target=True)
        return predicted, {"distilled_shares": self._config.shares * heat**2 * divergence}
