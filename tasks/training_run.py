"""One training run on a machine that has the images: samples, validation, and a state that is saved on the way."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from modnet.configs import TrainingConfig
from modnet.records import TrainingProgress, TrainingReport
from modnet.training.retrain import retrain
from modnet.training.state import TrainingState
from modnet.workloads.matting.data.dataset import MattingDataset, UnlabelledDataset
from modnet.workloads.matting.data.images import read_pair
from modnet.workloads.matting.data.indexing import DatasetIndex, Pair, find_images
from modnet.workloads.matting.metrics import mse
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.predict.predictors import TorchPredictor
from modnet.workloads.matting.published.folded_backbone import load_folded_backbone
from modnet.workloads.matting.workload import MATTING

logger = logging.getLogger(__name__)

TELL_EVERY_S = 3.0
SAVE_STATE_EVERY_S = 30.0  # a killed training loses at most this
STATISTICS_IMAGES = 32  # on which a folded backbone's norms are measured


def run_training(
    network: MODNet,
    folder: Path,
    index: DatasetIndex,
    config: TrainingConfig,
    *,
    seed: int,
    device: str,
    save: Callable[[TrainingState], None],
    tell: Callable[[TrainingProgress], None] | None = None,
    saved: bytes | None = None,
    saved_in: str = "the saved state",
    workers: int = 0,
    teacher: MODNet | None = None,
    unlabelled: Path | None = None,
    keep: Callable[[int, MODNet], None] | None = None,
) -> TrainingReport:
    """Trains `network` on `fit`, scores it on `tune` meanwhile, and leaves it on the CPU.

    Args:
        folder: what the paths of `index` are relative to.
        device: where to train: `cpu` or `cuda`.
        save: called every `SAVE_STATE_EVERY_S` seconds, and after every `keep`.
        tell: called every `TELL_EVERY_S` seconds and after every epoch. Watching never ends work: what it raises is
            logged, once.
        saved: the bytes of a state that `save` got in an earlier, cut run of the same question.
        saved_in: where they are from, for errors.
        workers: see `retrain`.
        teacher: see `retrain`.
        unlabelled: a folder of images on which the teacher teaches as well.
        keep: called after every epoch with its number, from 1, and the averaged network, which is what *tune* scores.
            Of a run that is resumed only with the epochs that end in it.
    """
    samples = MattingDataset(folder, index.split("fit"), size=config.image_size, seed=seed, augment=config.augmentation)
    tune = evenly_spread(index.split("tune"), config.validation_images)
    images = None
    if unlabelled is not None:
        images = UnlabelledDataset(
            unlabelled, find_images(unlabelled), size=config.image_size, seed=seed, augment=config.augmentation
        )
    saved_at = time.monotonic()
    tell_of = None if tell is None else _Told(tell, config)
    epochs: int | None = None

    def after_step(state: TrainingState) -> None:
        nonlocal saved_at, epochs
        if tell_of is not None:
            tell_of(state)
        has_ended, epochs = epochs is not None and len(state.history) > epochs, len(state.history)
        is_due = time.monotonic() - saved_at >= SAVE_STATE_EVERY_S
        if keep is not None and has_ended:
            averaged = state.modules["average"]
            assert isinstance(averaged, MODNet)
            keep(epochs, averaged)
            is_due = True  # what was kept is never without a state to go on from, and the state never ahead of it
        if is_due:
            save(state)
            saved_at = time.monotonic()

    report = retrain(
        network.to(device),
        samples,
        config,
        workload=MATTING,
        seed=seed,
        workers=workers,
        teacher=None if teacher is None else teacher.to(device),
        unlabelled=images,
        validate=lambda averaged: mean_mse(averaged, folder, tune, device),
        resume_from=saved,
        resume_name=saved_in,
        after_step=after_step,
    )
    network.to("cpu")
    return report


class _Told:
    """Says now and then how far a training is."""

    def __init__(self, tell: Callable[[TrainingProgress], None], config: TrainingConfig) -> None:
        self._tell, self._epochs = tell, config.epochs
        self._at, self._epoch, self._has_failed = -math.inf, 0, False

    def __call__(self, state: TrainingState) -> None:
        epoch = len(state.history)
        if epoch == self._epoch and time.monotonic() - self._at < TELL_EVERY_S:
            return
        self._at, self._epoch = time.monotonic(), epoch
        facts = [f"epoch {min(epoch + 1, self._epochs)} of {self._epochs}"]
        if state.step_losses:
            facts.append(f"loss {math.fsum(state.step_losses[-1].values()):.3f}")
        if scored := [one.tune_mse for one in state.history if one.tune_mse is not None]:
            facts.append(f"tune MSE {scored[-1]:.5f}")
        try:
            self._tell(TrainingProgress(step=state.step, steps=state.total_steps, text=", ".join(facts)))
        except Exception as error:  # whatever a store that is away raises: the training is none of its business
            if not self._has_failed:
                self._has_failed = True
                logger.warning("progress cannot be told, the training goes on: %s: %s", type(error).__name__, error)


def tune_mse(network: MODNet, folder: Path, index: DatasetIndex, config: TrainingConfig, device: str) -> float:
    """The error that a training by `config` scores, of any network; it is left on the CPU."""
    scored = network.to(device).eval()
    error = mean_mse(scored, folder, evenly_spread(index.split("tune"), config.validation_images), device)
    network.to("cpu")
    return error


def start_from_backbone(
    network: MODNet, path: Path, folder: Path, index: DatasetIndex, config: TrainingConfig, seed: int
) -> None:
    """Gives an unpruned network the folded backbone in `path`, its norms measured on `fit`.

    Raises:
        CheckpointError: see `load_folded_backbone`.
    """
    samples = MattingDataset(folder, index.split("fit"), size=config.image_size, seed=seed)
    count = min(STATISTICS_IMAGES, len(samples))
    load_folded_backbone(network, path, [samples[number].image[None] for number in range(count)])


def mean_mse(network: MODNet, folder: Path, pairs: Sequence[Pair], device: str) -> float:
    """Mean over pairs of the MSE at original size, protocol `modelcompression`."""
    predictor = TorchPredictor(network, "modelcompression", device)
    errors = []
    for pair in pairs:
        image, alpha = read_pair(folder / pair.image, folder / pair.matte)
        errors.append(mse(predictor(image), alpha))
    return float(np.mean(errors))


def evenly_spread(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """At most `count` pairs, from all along the sequence."""
    count = min(count, len(pairs))
    return [pairs[position * len(pairs) // count] for position in range(count)]
