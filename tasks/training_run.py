"""One training run on a machine that has the images: samples, validation, and a state that is saved on the way."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modnet.configs import RetrainConfig, TrainingConfig
from modnet.errors import ConfigError
from modnet.graph_function import TorchGraph
from modnet.network import PrunableNetwork
from modnet.records import TrainingProgress, TrainingReport
from modnet.targets import Shape
from modnet.training.retrain import retrain
from modnet.training.state import TrainingState
from modnet.workload import LabelledData, Workload

logger = logging.getLogger(__name__)

TELL_EVERY_S = 3.0
SAVE_STATE_EVERY_S = 30.0  # a killed training loses at most this, or an epoch where that is shorter
STATISTICS_IMAGES = 32  # on which a folded backbone's norms are measured


class Paused(Exception):  # noqa: N818 - like StopIteration: it ends a loop, and nothing is wrong
    """The training has stopped where it was asked to, its state saved."""

    def __init__(self, state: TrainingState) -> None:
        super().__init__(f"paused after {len(state.history)} epochs")
        self.history, self.seconds = tuple(state.history), state.seconds


def run_training(
    network: PrunableNetwork,
    workload: Workload[Any],
    data: LabelledData,
    config: TrainingConfig,
    *,
    seed: int,
    device: str,
    save: Callable[[TrainingState], object],
    tell: Callable[[TrainingProgress], None] | None = None,
    saved: bytes | None = None,
    saved_in: str = "the saved state",
    workers: int = 0,
    parts: int = 1,
    teacher: PrunableNetwork | None = None,
    keep: Callable[[int, PrunableNetwork], None] | None = None,
    shapes: Sequence[Shape] = (),
    pauses: Callable[[int], bool] | None = None,
) -> TrainingReport:
    """Trains `network` on `fit`, scores it on `tune` meanwhile, and leaves it on the CPU.

    Args:
        network: of the workload.
        device: where to train: `cpu` or `cuda`.
        save: called every `SAVE_STATE_EVERY_S` seconds and after every epoch.
        tell: called every `TELL_EVERY_S` seconds and after every epoch. Watching never ends work: what it raises is
            logged, once.
        saved: the bytes of a state that `save` got in an earlier, cut run of the same question.
        saved_in: where they are from, for errors.
        workers, parts, teacher: see `retrain`.
        keep: called after every epoch with its number, from 1, and the averaged network, which is what *tune* scores.
            Of a run that is resumed only with the epochs that end in it.
        shapes: heights and widths that the network will read, at which *tune* is scored, see `LabelledData.error`.
            Samples have the first one.
        pauses: asked after every step, with the number of epochs that have ended, whether the training stops here.

    Raises:
        Paused: `pauses` has said so. The state is saved, and another call with it goes on.
    """
    saved_at = time.monotonic()
    tell_of = None if tell is None else _Told(tell, config, workload.title)
    epochs: int | None = None

    def after_step(state: TrainingState) -> None:
        nonlocal saved_at, epochs
        if tell_of is not None:
            tell_of(state)
        has_ended, epochs = epochs is not None and len(state.history) > epochs, len(state.history)
        if keep is not None and has_ended:  # before the state is saved, which is never ahead of what was kept
            averaged = state.modules["average"]
            assert isinstance(averaged, PrunableNetwork)
            keep(epochs, averaged)
        has_to_pause = pauses is not None and len(state.history) < config.epochs and pauses(len(state.history))
        if has_ended or has_to_pause or time.monotonic() - saved_at >= SAVE_STATE_EVERY_S:
            save(state)
            saved_at = time.monotonic()
        if has_to_pause:
            raise Paused(state)

    report = retrain(
        network.to(device),
        data.training_set("fit", config, crop_shape(config, data, shapes), seed),
        config,
        workload=workload,
        seed=seed,
        workers=workers,
        parts=parts,
        teacher=None if teacher is None else teacher.to(device),
        validate=lambda averaged: tune_error(averaged, data, config, device, shapes),
        resume_from=saved,
        resume_name=saved_in,
        after_step=after_step,
    )
    network.to("cpu")
    return report


def crop_shape(config: TrainingConfig, data: LabelledData, shapes: Sequence[Shape] = ()) -> Shape:
    """Height and width of the samples of a training: a square that the config asks for, else the network's main shape.

    Without shapes the network reads any, and samples have the data's own.
    """
    return (config.image_size, config.image_size) if config.image_size else (shapes or data.input_shapes())[0]


class _Told:
    def __init__(self, tell: Callable[[TrainingProgress], None], config: TrainingConfig, title: str) -> None:
        self._tell, self._epochs, self._title = tell, config.epochs, title
        self._at, self._epoch, self._has_failed = -math.inf, 0, False

    def __call__(self, state: TrainingState) -> None:
        epoch = len(state.history)
        if epoch == self._epoch and time.monotonic() - self._at < TELL_EVERY_S:
            return
        self._at, self._epoch = time.monotonic(), epoch
        facts = [f"epoch {min(epoch + 1, self._epochs)} of {self._epochs}"]
        if state.step_losses:
            facts.append(f"loss {math.fsum(state.step_losses[-1].values()):.3f}")
        if scored := [one.tune_error for one in state.history if one.tune_error is not None]:
            facts.append(f"tune {self._title} {scored[-1]:.5f}")
        try:
            self._tell(TrainingProgress(step=state.step, steps=state.total_steps, text=", ".join(facts)))
        except Exception as error:  # whatever a store that is away raises: the training is none of its business
            if not self._has_failed:
                self._has_failed = True
                logger.warning("progress cannot be told, the training goes on: %s: %s", type(error).__name__, error)


def tune_error(
    network: PrunableNetwork, data: LabelledData, config: TrainingConfig, device: str, shapes: Sequence[Shape] = ()
) -> float:
    """What a training by `config` scores: the mean of the deciding error over images from all along tune."""
    graph = TorchGraph(network, device)
    positions = evenly_spread(len(data.names("tune")), config.validation_images)
    return float(np.mean([data.error(graph, "tune", position, shapes) for position in positions]))


def start_from_backbone(
    network: PrunableNetwork,
    workload: Workload[Any],
    path: Path,
    data: LabelledData,
    config: TrainingConfig,
    seed: int,
    shapes: Sequence[Shape] = (),
) -> None:
    """Gives an unpruned network the published backbone in `path`, its norms measured on `fit`; see `run_training`.

    Raises:
        CheckpointError: the file cannot be read, or is of another backbone.
        ConfigError: the workload has no such backbone.
    """
    if workload.start_from is None:
        raise ConfigError(f"workload {workload.name!r} starts from no backbone, got {path}")
    samples = data.training_set("fit", TrainingConfig(), crop_shape(config, data, shapes), seed)
    count = min(STATISTICS_IMAGES, len(samples))
    workload.start_from(network, path, [samples[number][0][None] for number in range(count)])


def start_of_retraining(
    network: PrunableNetwork, workload: Workload[Any], config: RetrainConfig, seed: int
) -> PrunableNetwork:
    """The pruned network that retraining starts from: with the weights that it kept, or with random ones."""
    if config.initialise != "scratch":
        return network
    torch.manual_seed(seed)
    fresh: PrunableNetwork = workload.network(network.spec)
    return fresh


def evenly_spread(images: int, count: int) -> list[int]:
    """At most `count` positions, from all along a split of so many images."""
    count = min(count, images)
    return [position * images // count for position in range(count)]
