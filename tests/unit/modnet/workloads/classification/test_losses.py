"""What a classifier learns from: cases worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from modnet.errors import ConfigError
from modnet.training.execution import predict
from modnet.workloads.classification.dataset import ClassSample
from modnet.workloads.classification.losses import SharesOfTeacher, class_error, class_loss
from modnet.workloads.classification.network import ClassPrediction, MobileNetV2, MobileNetV2Spec
from modnet.workloads.classification.settings import ClassDistillation

PAIR = ("cat", "dog")


def network(seed: int, classes: tuple[str, ...] = PAIR) -> MobileNetV2:
    torch.manual_seed(seed)
    return MobileNetV2(MobileNetV2Spec.tiny(classes)).eval()


def in_fp32(model: MobileNetV2, inputs: tuple[Tensor, ...]) -> ClassPrediction:
    return predict(model, inputs, "fp32")


def test_class_loss_is_minus_the_log_of_the_true_share() -> None:
    batch = ClassSample(torch.zeros(2, 3, 32, 32), torch.tensor([0, 1]))
    loss = class_loss(ClassPrediction(torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])), batch)["cross_entropy"]
    assert loss.item() == pytest.approx((math.log(2) + math.log(4)) / 2)


def test_class_error_is_of_each_image_and_differentiable() -> None:
    model, images = network(0), torch.rand(3, 3, 32, 32) * 2 - 1
    errors = class_error(model, (images, torch.tensor([0, 1, 1])))
    assert errors.shape == (3,)
    errors.sum().backward()
    assert model.backbone.stem.conv.weight.grad.abs().sum() > 0


def test_a_student_like_its_teacher_has_nothing_to_learn_from_it() -> None:
    images = (torch.rand(2, 3, 32, 32) * 2 - 1,)
    prediction, terms = SharesOfTeacher(network(0), network(0), ClassDistillation()).learn(network(0), images, in_fp32)
    assert prediction.logits.shape == (2, 2)
    assert terms["distilled_shares"].item() == pytest.approx(0, abs=1e-6)


def test_distilled_shares_are_the_divergence_at_the_temperature_times_its_square() -> None:
    teacher, student, images = network(0), network(1), (torch.rand(2, 3, 32, 32) * 2 - 1,)
    config = ClassDistillation(temperature=2, shares=3)
    _, terms = SharesOfTeacher(teacher, student, config).learn(student, images, in_fp32)
    with torch.no_grad():
        wanted, own = ((model(*images).logits / 2).softmax(1) for model in (teacher, student))
    by_hand = 3 * 4 * (wanted * (wanted / own).log()).sum(1).mean()
    torch.testing.assert_close(terms["distilled_shares"].detach(), by_hand)


def test_a_teacher_of_other_classes_is_refused() -> None:
    with pytest.raises(ConfigError, match="teacher and student know other classes"):
        SharesOfTeacher(network(0, ("cat", "cow")), network(0), ClassDistillation())
