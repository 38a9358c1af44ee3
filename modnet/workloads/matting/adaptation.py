"""Adaptation to a new kind of images without true mattes: the three outputs must agree with each other.

Sub-objectives consistency of MODNet (Ke et al. 2022, arXiv 2011.11961, section "SOC"), with the weights of its
published code.
"""

import copy
import time
from statistics import fmean

import torch
from torch import Tensor
from torch.nn import functional as F

from modnet.data.batches import batch_indices
from modnet.data.loading import BatchLoader
from modnet.errors import TrainingDivergedError
from modnet.progress import Progress
from modnet.records import EpochReport, TrainingReport
from modnet.training.execution import leave_training_layout, predict
from modnet.training.memory import freed_memory_kept
from modnet.workloads.matting.data.dataset import UnlabelledDataset
from modnet.workloads.matting.distillation import uncertain_band
from modnet.workloads.matting.losses import coarse_matte
from modnet.workloads.matting.network.modnet import MattePrediction, MODNet
from modnet.workloads.matting.settings import AdaptationConfig

SEMANTIC_WEIGHT, DETAIL_WEIGHT = 100.0, 1.0  # of the published code


@freed_memory_kept()
def adapt(network: MODNet, dataset: UnlabelledDataset, config: AdaptationConfig, *, seed: int) -> TrainingReport:
    """Adapts `network`, trained, in place to unlabelled images, and says how it went; it ends up in evaluation mode.

    Norms keep their statistics, as a few images would spoil them. Samples are of size `config.image_size`, in an order
    by `seed`.

    Raises:
        TrainingDivergedError: the loss is not finite.
        DatasetError: more than `config.max_unreadable` images cannot be read; names them.
    """
    began = time.monotonic()
    device = next(network.parameters()).device
    network.eval()
    frozen = copy.deepcopy(network).requires_grad_(False)
    optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    history: list[EpochReport] = []
    steps = 0
    total = config.epochs * len(batch_indices(len(dataset), config.batch_size, seed, 0))
    with (
        BatchLoader(dataset, max_unreadable=config.max_unreadable) as loader,
        Progress("adapting", total, "step") as progress,
    ):
        for epoch in range(config.epochs):
            dataset.set_epoch(epoch)
            progress.show(epoch=f"{epoch + 1} of {config.epochs}")
            sums: dict[str, list[float]] = {}
            for batch in loader.load(batch_indices(len(dataset), config.batch_size, seed, epoch)):
                image = batch.image.to(device)
                with torch.no_grad():
                    before = predict(frozen, (image,), "fp32")
                losses = consistency_losses(predict(network, (image,), "fp32"), before)
                loss = torch.stack(list(losses.values())).sum()
                if not torch.isfinite(loss):
                    what = f"the loss is {loss.item()} at step {steps} of adaptation"
                    raise TrainingDivergedError(what, step=steps, last_finite_loss=None)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                steps += 1
                progress.advance(loss=f"{loss.item():.4f}")
                for name, term in losses.items():
                    sums.setdefault(name, []).append(term.item())
            means = {name: fmean(terms) for name, terms in sums.items()}
            history.append(EpochReport(losses=means, learning_rate=config.learning_rate))
            progress.milestone(epoch=f"{epoch + 1} of {config.epochs}", loss=f"{history[-1].loss:.4f}")
    leave_training_layout(network)
    return TrainingReport(
        steps=steps,
        images_seen=config.epochs * len(dataset),
        history=tuple(history),
        best_epoch=None,
        precision="fp32",
        seconds=time.monotonic() - began,
    )


def consistency_losses(predicted: MattePrediction, before: MattePrediction) -> dict[str, Tensor]:
    """The weighted terms by name; each is zero when the outputs agree and the detail is as it was before adaptation.

    semantic: 100 · ½ mean (G(a↓16) - s)².  detail: mean |a - d| over the band where `before` is uncertain.
    kept_detail: mean |d - d_before| over that band, which keeps the border from being smoothed away. Each of the two
    outputs of a consistency term learns from the other. Means over the band divide by all pixels.
    """
    band = uncertain_band(before.alpha)
    return {
        "semantic": SEMANTIC_WEIGHT
        / 2
        * F.mse_loss(coarse_matte(predicted.alpha, predicted.semantic), predicted.semantic),
        "detail": DETAIL_WEIGHT * (band * (predicted.alpha - predicted.detail).abs()).mean(),
        "kept_detail": DETAIL_WEIGHT * (band * (predicted.detail - before.detail).abs()).mean(),
    }
