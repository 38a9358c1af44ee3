"""Learning from the unpruned network: its mattes, and if wanted its features, as further targets.

Soft targets are those of Hinton et al. 2015 (arXiv 1503.02531), features through 1×1 adapters those of FitNets (Romero
et al. 2015, arXiv 1412.6550). No true matte is needed, so images without one can teach as well.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modnet.errors import ConfigError
from modnet.workload import Sample
from modnet.workloads.matting.network.modnet import MattePrediction, MODNet
from modnet.workloads.matting.settings import DistillationConfig

BAND_RADIUS = 8  # pixels around what the teacher calls neither person nor background
_CERTAIN = 0.05  # from 0 or 1: what the teacher is sure of


class Distillation(nn.Module):
    """A teacher beside its student; its own parameters are the adapters, which training learns and nobody deploys."""

    def __init__(self, teacher: MODNet, student: MODNet, config: DistillationConfig) -> None:
        """Freezes the teacher, any MODNet: no part of this module's state. Adapters stand where the student does."""
        super().__init__()
        self._config = config
        self._teacher = (teacher.eval().requires_grad_(False),)  # in a tuple: no part of this module's state
        wide, narrow = ((spec.lr8x.total, spec.hr2x[3].total) for spec in (teacher.spec, student.spec))
        self.adapters = nn.ModuleList(
            nn.Conv2d(own, wanted, 1) for own, wanted in zip(narrow, wide, strict=True) if config.features
        ).to(next(student.parameters()).device)

    def learn(
        self, student: MODNet, inputs: Sample, predict: Callable[[MODNet, Sample], Any]
    ) -> tuple[MattePrediction, dict[str, Tensor]]:
        """What the student predicts of (B, 3, H, W) images, and how far it is from the teacher: weighted terms by name.

        semantic: 10 · mean (s - sₜ)².  detail: 10 · mean |d - dₜ| over the band where the teacher's alpha is neither 0
        nor 1.  alpha: mean |a - aₜ| + 4 mean |a - aₜ| over that band.  features: mean (A f - fₜ)² / mean fₜ², mean of
        both branches. Means over the band divide by all pixels, as MODNet's own losses do.

        Raises:
            ConfigError: the teacher predicts another size than the student.
        """
        with branch_outputs(student, kept=bool(self.adapters)) as own_features:
            predicted = predict(student, inputs)
        with torch.no_grad(), branch_outputs(self._teacher[0], kept=bool(self.adapters)) as wanted_features:
            target = predict(self._teacher[0], inputs)
        shapes = [[tuple(output.shape) for output in one] for one in (predicted, target)]
        if shapes[0] != shapes[1]:
            raise ConfigError(f"the teacher's outputs are {shapes[1]}, the student's {shapes[0]}; wanted equal ones")
        band = uncertain_band(target.alpha)
        difference = (predicted.alpha - target.alpha).abs()
        config = self._config
        terms = {
            "distilled_semantic": config.semantic * 10 * F.mse_loss(predicted.semantic, target.semantic),
            "distilled_detail": config.detail * 10 * (band * (predicted.detail - target.detail).abs()).mean(),
            "distilled_alpha": config.alpha * (difference.mean() + 4 * (band * difference).mean()),
        }
        if self.adapters:
            pairs = zip(self.adapters, own_features, wanted_features, strict=True)
            errors = [_relative_error(adapter(own.float()), wanted.float()) for adapter, own, wanted in pairs]
            terms["distilled_features"] = config.features * torch.stack(errors).mean()
        return predicted, terms


@contextmanager
def branch_outputs(network: MODNet, *, kept: bool) -> Iterator[list[Tensor]]:
    """A block in which the outputs of semantic (at H/8) and detail branch (at H/2) are kept, in this order."""
    outputs: list[Tensor] = []
    branches = (network.semantic, network.detail) if kept else ()
    with ExitStack() as hooks:
        for branch in branches:
            hooks.enter_context(branch.register_forward_hook(lambda _, _inputs, output: outputs.append(output)))
        yield outputs


def uncertain_band(alpha: Tensor) -> Tensor:
    """1 within `BAND_RADIUS` pixels of an alpha that is neither 0 nor 1, else 0; like `alpha`, (B, 1, H, W)."""
    is_uncertain = ((alpha > _CERTAIN) & (alpha < 1 - _CERTAIN)).float()
    return F.max_pool2d(is_uncertain, 2 * BAND_RADIUS + 1, stride=1, padding=BAND_RADIUS)


def _relative_error(own: Tensor, wanted: Tensor) -> Tensor:
    return F.mse_loss(own, wanted) / wanted.square().mean().clamp_min(torch.finfo(wanted.dtype).tiny)
