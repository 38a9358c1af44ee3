"""Distillation asks nothing where the student says what the teacher says, and its terms are what they say they are."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from modnet.errors import ConfigError
from modnet.training.execution import predict
from modnet.workloads.matting.distillation import BAND_RADIUS, Distillation, uncertain_band
from modnet.workloads.matting.network.modnet import MattePrediction, MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.settings import DistillationConfig

in_float32 = partial(predict, number_format="fp32")


def network(seed: int) -> MODNet:
    torch.manual_seed(seed)
    return MODNet(ModnetSpec.tiny())


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_losses_are_zero_when_the_student_is_the_teacher(image: torch.Tensor) -> None:
    teacher, student = network(0), network(0).eval()
    distillation = Distillation(teacher, student, DistillationConfig())
    with torch.no_grad():  # as the teacher computes: gradients take the student another way, with other roundings
        losses = distillation.learn(student, (image,), in_float32)[1]
    assert set(losses) == {"distilled_semantic", "distilled_detail", "distilled_alpha"}
    assert [term.item() for term in losses.values()] == [0.0, 0.0, 0.0]


def test_losses_follow_their_formulas(image: torch.Tensor) -> None:
    teacher, student = network(0), network(1).eval()
    distillation = Distillation(teacher, student, DistillationConfig(semantic=2, detail=3, alpha=5))
    predicted, losses = distillation.learn(student, (image,), in_float32)
    target = teacher(image)
    band = uncertain_band(target.alpha)
    apart = (predicted.alpha - target.alpha).abs()
    torch.testing.assert_close(
        losses["distilled_semantic"], 20 * (predicted.semantic - target.semantic).square().mean()
    )
    torch.testing.assert_close(
        losses["distilled_detail"], 30 * (band * (predicted.detail - target.detail).abs()).mean()
    )
    torch.testing.assert_close(losses["distilled_alpha"], 5 * (apart.mean() + 4 * (band * apart).mean()))


def test_losses_compare_features_through_adapters_that_learn(image: torch.Tensor) -> None:
    teacher, student = network(0), network(1).train()
    distillation = Distillation(teacher, student, DistillationConfig(semantic=0, detail=0, alpha=0, features=1))
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    losses = distillation.learn(student, (image,), in_float32)[1]
    torch.stack(list(losses.values())).sum().backward()
    assert losses["distilled_features"] > 0
    assert all(parameter.grad is not None for parameter in distillation.adapters.parameters())
    assert student.detail.hr2x[0].conv.weight.grad is not None
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    assert not student.semantic._forward_hooks


def test_uncertain_band_reaches_so_far_around_what_is_neither() -> None:
    alpha = torch.zeros(1, 1, 64, 64)
    alpha[..., 32, 32] = 0.5
    rows, columns = uncertain_band(alpha)[0, 0].nonzero(as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (32 - BAND_RADIUS, 32 + BAND_RADIUS) * 2


def test_losses_refuse_a_teacher_whose_outputs_have_another_size(image: torch.Tensor) -> None:
    class Shrinking(MODNet):
        def forward(self, image: torch.Tensor) -> MattePrediction:
            return super().forward(image[..., ::2, ::2])

    student = network(1).eval()
    distillation = Distillation(Shrinking(ModnetSpec.tiny()), student, DistillationConfig())
    with pytest.raises(ConfigError, match="wanted equal ones"):
        distillation.learn(student, (image,), in_float32)
