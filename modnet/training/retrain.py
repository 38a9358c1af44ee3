"""The training loop: of a pruned network, or of the unpruned one."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from modnet.configs import RetrainConfig, TrainingConfig
from modnet.configs.shape import shown
from modnet.data.batches import batch_indices
from modnet.data.loading import BatchLoader
from modnet.errors import ConfigError, TrainingDivergedError
from modnet.network import Network, PrunableNetwork
from modnet.progress import Progress
from modnet.pruning.plan import network_digest
from modnet.records import EpochReport, TrainingReport
from modnet.training.average import WeightAverage
from modnet.training.execution import Format, computes_bf16, fastest_format, leave_training_layout, predict
from modnet.training.memory import freed_memory_kept
from modnet.training.schedule import SCHEDULES
from modnet.training.slimming import add_penalty, prunable_scales, scale_distribution, strength_at
from modnet.training.state import TrainingState
from modnet.workload import Sample, Teaching, TrainingSet, Workload, inputs_of

SGD_MOMENTUM = 0.9  # the published trainer's


@freed_memory_kept()
def retrain(
    network: Network,
    dataset: TrainingSet[Sample],
    config: TrainingConfig,
    *,
    workload: Workload[PrunableNetwork],
    seed: int,
    workers: int = 0,
    parts: int = 1,
    teacher: PrunableNetwork | None = None,
    validate: Callable[[Network], float] | None = None,
    resume_from: bytes | None = None,
    resume_name: str = "the saved state",
    after_step: Callable[[TrainingState], None] | None = None,
) -> TrainingReport:
    """Trains `network` in place and says how it went; it ends up in evaluation mode with the weights that were kept.

    On the CPU the result depends on (weights, data set, config, seed, teacher, number format) alone, also when the run
    was cut after any step and resumed.

    Args:
        network: of the workload, on the device where it shall be trained.
        workload: whose loss is minimised, and who makes the teacher teach.
        seed: of the order of samples; the data set has its own for what happens inside one.
        workers: processes that compute samples beside this one; the samples are the same for any number.
        parts: pieces that each batch is computed in, one after the other. They take less memory, and give the same
            gradients, except that batch norms take their statistics from a piece.
        teacher: the network to learn from where `config` has a `distillation`, on the same device.
        validate: tune error of a network in evaluation mode; None keeps the last weights.
        resume_from: `to_bytes()` of the state that an earlier, cut run of the same question gave to `after_step`.
        resume_name: where these bytes are from, for errors.
        after_step: called after every step, and after every epoch with the epoch's report in the state.

    Raises:
        TrainingDivergedError: the loss is not finite.
        CheckpointError: `resume_from` is damaged or of another run.
        ConfigError: a teacher without `distillation` in the config, or the other way round.
        DatasetError: more than `config.max_unreadable` samples cannot be read.
    """
    began = time.monotonic()
    device = next(network.parameters()).device
    teaching = _teaching(workload, network, teacher, config, seed)
    _set_training_mode(network, config)
    average = WeightAverage(network, config.average_decay)
    adapters, learn = (nn.ModuleList(), _alone) if teaching is None else (teaching.adapters, teaching.learn)
    optimiser = _optimiser([network, adapters], config)
    sparse_scales = {} if config.sparsity is None else prunable_scales(network)
    steps_per_epoch = len(batch_indices(len(dataset), config.batch_size, seed, 0))
    state = TrainingState(
        question=_question(network, dataset, teacher, config, seed),
        modules={"network": network, "average": average.network, "adapters": adapters},
        optimiser=optimiser,
        total_steps=config.epochs * steps_per_epoch,
        number_format="fp32",
        scales=[] if config.sparsity is None else [scale_distribution(sparse_scales)],
    )

    with ExitStack() as stack:
        loader = stack.enter_context(BatchLoader(dataset, workers=workers, max_unreadable=config.max_unreadable))
        if resume_from is None:
            state.number_format = _number_format(workload, network, loader, config, device)
        else:
            state.restore(resume_from, resume_name)
        began -= state.seconds
        predicted_in = partial(predict, number_format=state.number_format)
        progress = stack.enter_context(Progress("training", state.total_steps, "step", done=state.step))
        while not _is_over(state.history, config):
            epoch = len(state.history)
            progress.show(epoch=f"{epoch + 1} of {config.epochs}")
            dataset.set_epoch(epoch)
            batches = batch_indices(len(dataset), config.batch_size, seed, epoch)
            done = len(state.step_losses)
            for batch in loader.load(batches[done:]):
                for group in optimiser.param_groups:
                    group["lr"] = config.learning_rate * SCHEDULES[config.schedule](state.progress)
                batch = type(batch)(*(tensor.to(device) for tensor in batch))
                optimiser.zero_grad()
                losses: dict[str, float] = {}
                for part, share in _pieces(batch, parts):
                    predicted, distilled = learn(network, inputs_of(network, part), predicted_in)
                    terms = workload.loss(predicted, part) | distilled
                    loss = share * torch.stack(list(terms.values())).sum()
                    if not torch.isfinite(loss):
                        raise _diverged(loss.item(), state, config)
                    loss.backward()  # type: ignore[no-untyped-call]
                    losses = {name: losses.get(name, 0) + share * term.item() for name, term in terms.items()}
                if config.sparsity is not None:
                    add_penalty(sparse_scales.values(), strength_at(config.sparsity, state.progress))
                torch.nn.utils.clip_grad_norm_(network.parameters(), config.max_gradient_norm)
                optimiser.step()
                average.update(network, state.step)
                state.step += 1
                state.step_losses.append(losses)
                progress.advance(loss=f"{math.fsum(losses.values()):.3f}")
                state.seconds = time.monotonic() - began
                if after_step is not None:
                    after_step(state)
            if config.sparsity is not None:
                state.scales.append(scale_distribution(sparse_scales))
            _end_epoch(state, average.network, config, validate)
            progress.milestone(**_facts(state.history[-1]))
            if after_step is not None:
                after_step(state)

    network.load_state_dict(state.best_weights or average.network.state_dict())
    leave_training_layout(network.eval().requires_grad_(True))
    return TrainingReport(
        steps=state.step,
        images_seen=len(state.history) * len(dataset),
        history=tuple(state.history),
        best_epoch=_best_epoch(state.history),
        precision=state.number_format,
        batch_parts=parts,
        seconds=time.monotonic() - began,
        scales=tuple(state.scales),
    )


def _teaching(
    workload: Workload[PrunableNetwork],
    network: PrunableNetwork,
    teacher: PrunableNetwork | None,
    config: TrainingConfig,
    seed: int,
) -> Teaching | None:
    wanted = config.distillation if isinstance(config, RetrainConfig) else None
    if (wanted is None) != (teacher is None):
        raise ConfigError(
            f"distillation: got {'no teacher' if teacher is None else 'a teacher'} "
            f"and {'no distillation' if wanted is None else 'a distillation'} in the settings; wanted both or neither"
        )
    if teacher is None or wanted is None:
        return None
    if workload.teaching is None:
        raise ConfigError(f"a network of workload {workload.name!r} cannot teach: got a teacher, wanted none")
    with torch.random.fork_rng(devices=[]):  # adapters start from random weights
        torch.manual_seed(seed)
        return workload.teaching(teacher, network, wanted)


def _set_training_mode(network: PrunableNetwork, config: TrainingConfig) -> None:
    """Training mode; a frozen backbone keeps the statistics of its norms as well."""
    network.train()
    if config.freeze_backbone:
        backbone = network.pretrained_part()
        if backbone is None:
            raise ConfigError(f"freeze_backbone: a {type(network).__name__} has no backbone that could stay as it is")
        backbone.eval().requires_grad_(False)


def _optimiser(modules: list[nn.Module], config: TrainingConfig) -> torch.optim.Optimizer:
    parameters = [one for module in modules for one in module.parameters() if one.requires_grad]
    if config.optimiser == "sgd":
        return torch.optim.SGD(parameters, config.learning_rate, SGD_MOMENTUM, weight_decay=config.weight_decay)
    return torch.optim.AdamW(parameters, config.learning_rate, weight_decay=config.weight_decay)


def _question(
    network: PrunableNetwork,
    dataset: TrainingSet[Sample],
    teacher: PrunableNetwork | None,
    config: TrainingConfig,
    seed: int,
) -> dict[str, str]:
    """What a saved state must have been about, field by field."""
    return {
        "weights to start from": network_digest(network)[:12],
        "images": _named(dataset),
        "size of samples": shown(dataset.shape),
        "teacher": "none" if teacher is None else network_digest(teacher)[:12],
        "seed": str(seed),
        **{name: json.dumps(value) for name, value in _flat(config.model_dump(mode="json"))},
    }


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings with those within them as `augmentation.flip`."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _named(dataset: TrainingSet[Sample]) -> str:
    """How many images, and of what seed and which files: a digest of their names and sizes."""
    found = "/".join(f"{file} {_size(dataset.folder / file)}" for file in dataset.files)
    return f"{len(dataset)} (seed {dataset.seed}, {hashlib.sha256(found.encode()).hexdigest()[:12]})"


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None  # what is missing is counted where it is read


def _number_format(
    workload: Workload[PrunableNetwork],
    network: PrunableNetwork,
    loader: BatchLoader[Sample],
    config: TrainingConfig,
    device: torch.device,
) -> Format:
    if config.precision != "auto":
        return config.precision
    if not computes_bf16(device):
        return "fp32"  # before a batch is read in vain
    (batch,) = loader.load([[index % len(loader.dataset) for index in range(config.batch_size)]])
    return fastest_format(network, type(batch)(*(tensor.to(device) for tensor in batch)), workload.loss)


def _alone(student: Any, inputs: Sample, predict: Callable[[Any, Sample], Any]) -> tuple[Any, dict[str, Tensor]]:
    """As `Teaching.learn`, without a teacher."""
    return predict(student, inputs), {}


def _pieces(batch: Any, parts: int) -> Iterator[tuple[Any, float]]:
    """A batch of (B, ...) tensors in at most so many pieces, each with its share of the images."""
    count = len(batch[0])
    for piece in zip(*(tensor.chunk(parts) for tensor in batch), strict=True):
        yield type(batch)(*piece), len(piece[0]) / count


def _end_epoch(
    state: TrainingState, averaged: Network, config: TrainingConfig, validate: Callable[[Network], float] | None
) -> None:
    """Scores the averaged weights when it is time to, keeps the best, and puts the epoch into the history."""
    number = len(state.history) + 1
    is_due = config.validate_every is not None and (number % config.validate_every == 0 or number == config.epochs)
    tune_error = validate(averaged) if validate is not None and is_due else None
    best = _best_epoch(state.history)
    if tune_error is not None and (best is None or tune_error < (state.history[best - 1].tune_error or 0)):
        state.best_weights = {name: tensor.clone() for name, tensor in averaged.state_dict().items()}
    state.history.append(
        EpochReport(
            losses={name: fmean(one[name] for one in state.step_losses) for name in state.step_losses[0]},
            learning_rate=state.optimiser.param_groups[0]["lr"],
            tune_error=tune_error,
        )
    )
    state.step_losses = []


def _facts(epoch: EpochReport) -> dict[str, str]:
    facts = {"loss": f"{epoch.loss:.3f}"}
    return facts if epoch.tune_error is None else facts | {"tune error": f"{epoch.tune_error:.5f}"}


def _best_epoch(history: Sequence[EpochReport]) -> int | None:
    """Number of the first epoch with the lowest tune error, from 1; None when none has one."""
    scored = {number: one.tune_error for number, one in enumerate(history, start=1) if one.tune_error is not None}
    return min(scored, key=lambda number: scored[number]) if scored else None


def _is_over(history: Sequence[EpochReport], config: TrainingConfig) -> bool:
    """True after the last epoch, or after `patience` scores in a row without a better one."""
    if len(history) >= config.epochs:
        return True
    best = _best_epoch(history)
    if config.patience is None or best is None:
        return False
    return sum(one.tune_error is not None for one in history[best:]) >= config.patience


def _diverged(loss: float, state: TrainingState, config: TrainingConfig) -> TrainingDivergedError:
    last = state.step_losses[-1] if state.step_losses else state.history[-1].losses if state.history else None
    last_finite_loss = None if last is None else math.fsum(last.values())
    return TrainingDivergedError(
        f"the loss is {loss} at step {state.step} of {state.total_steps} (last finite: {last_finite_loss}); "
        f"a learning rate below {config.learning_rate:g} may help",
        step=state.step,
        last_finite_loss=last_finite_loss,
    )
