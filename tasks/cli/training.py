"""`modnet train` and `modnet retrain`."""

import glob
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from modnet.checkpoint import read_checkpoint, save_checkpoint
from modnet.config import Config
from modnet.configs import TrainingConfig
from modnet.configs.shape import shape_of, shown
from modnet.data.download import sha256_of_file
from modnet.files import write_atomically
from modnet.network import PrunableNetwork
from modnet.records import TrainingReport
from modnet.report.training_plots import gamma_plot, training_plot
from modnet.targets import Shape
from modnet.training.slimming import SCALE_BINS, matching_norms, prunable_scales
from modnet.workload import LabelledData, Workload
from modnet.workloads import settings_named, workload_named
from modnet.workloads.matting.adaptation import adapt as adapt_network
from modnet.workloads.matting.checkpoint import read_checkpoint as read_matting
from modnet.workloads.matting.data.dataset import UnlabelledDataset
from modnet.workloads.matting.data.indexing import find_images
from modnet.workloads.matting.settings import AdaptationConfig
from tasks.cli.exit_codes import UsageError
from tasks.cli.fields import given_config
from tasks.cli.flags import Options, Result, require_free, warn
from tasks.cli.given import cost, given_data, given_network, given_training
from tasks.training_run import crop_shape, run_training, start_from_backbone, start_of_retraining, tune_error


def train(options: Options) -> Result:
    """Trains an unpruned network from random weights or from a MobileNetV2 backbone."""
    require_free(options, *_files(options))
    config = given_training(settings_named(options.workload).training, options)
    workload = workload_named(options.workload)
    norms = _plotted_norms(workload.network(workload.spec.full()), config, options)  # of these names whatever the data
    data = given_data(workload, options.dataset)
    torch.manual_seed(options.seed)
    network = workload.unpruned(data)
    provenance = {"training": config.model_dump()}
    if options.backbone is not None:
        start_from_backbone(network, workload, options.backbone, data, config, options.seed, _shapes(options))
        provenance["backbone"] = {"file": options.backbone.name, "sha256": sha256_of_file(options.backbone)}
    return _trained(network, workload, data, config, options, norms, provenance)


def adapt(options: Options) -> Result:
    """Adapts a trained network to images without mattes."""
    require_free(options, options.out)
    config = given_config(AdaptationConfig, options)
    checkpoint = read_matting(options.checkpoint, options.prune_info)
    images = UnlabelledDataset(options.images, find_images(options.images), size=config.image_size, seed=options.seed)
    report = adapt_network(checkpoint.network.to(options.device), images, config, seed=options.seed)
    provenance = {**checkpoint.provenance, "adapt": config.model_dump(), "seed": options.seed}
    save_checkpoint(checkpoint.network.to("cpu"), options.out, provenance)
    losses = {f"{name}_loss": value for name, value in report.history[-1].losses.items()}
    return {"checkpoint": str(options.out), "images": len(images), **losses, "seconds": round(report.seconds, 1)}


def retrain(options: Options) -> Result:
    """Retrains a pruned network."""
    if options.teacher is None and options.distill_features is not None:
        raise UsageError("--distill-features would do nothing without --teacher")
    require_free(options, *_files(options))
    workload, checkpoint = given_network(options.checkpoint, options.prune_info)
    distillation = None if options.teacher is None else _distillation(workload, options)
    config = given_training(settings_named(workload.name).retraining, options, distillation=distillation)
    network = start_of_retraining(checkpoint.network, workload, config, options.seed)
    teacher = None if options.teacher is None else read_checkpoint(options.teacher, workload).network
    provenance = {**checkpoint.provenance, "retrain": config.model_dump()}
    norms = _plotted_norms(network, config, options)
    data = given_data(workload, options.dataset, network)
    return _trained(network, workload, data, config, options, norms, provenance, teacher)


def _distillation(workload: Workload[Any], options: Options) -> Config:
    """How the workload's networks learn from a teacher, by the flags.

    Raises:
        UsageError: its networks cannot, or not from what a flag says.
    """
    kind = settings_named(workload.name).distillation
    if kind is None:
        raise UsageError(f"--teacher: networks of workload {workload.name!r} cannot teach")
    if options.distill_features is not None and "features" not in kind.model_fields:
        raise UsageError(f"--distill-features: networks of workload {workload.name!r} teach no features")
    config: Config = given_config(kind, options)
    return config


def _files(options: Options) -> tuple[Path, Path]:
    """The checkpoint, and the training's figures beside it."""
    return options.out, options.out.with_suffix(".training.jsonl")


def _trained(
    network: PrunableNetwork,
    workload: Workload[Any],
    data: LabelledData,
    config: TrainingConfig,
    options: Options,
    norms: Sequence[str],
    provenance: Result,
    teacher: PrunableNetwork | None = None,
) -> Result:
    """Trains and saves; a cut run goes on from the state file beside the output."""
    out, curve = _files(options)
    state = out.with_name(out.name + ".training-state")
    shapes = _shapes(options)
    taught_by = None if teacher is None else tune_error(teacher, data, config, options.device, shapes)
    if taught_by is not None:
        _warn_of_teacher(taught_by, tune_error(network, data, config, options.device, shapes), "at the start")
    out.parent.mkdir(parents=True, exist_ok=True)
    provenance = {**provenance, "seed": options.seed, "input_shape": shown(crop_shape(config, data, shapes))}
    report = run_training(
        network,
        workload,
        data,
        config,
        seed=options.seed,
        device=options.device,
        save=lambda reached: write_atomically(state, reached.to_bytes()),
        saved=state.read_bytes() if state.exists() else None,
        saved_in=str(state),
        workers=options.workers,
        teacher=teacher,
        keep=_keeper(options, state, provenance) if options.keep_epochs else None,
        shapes=shapes,
    )
    save_checkpoint(network, out, provenance)
    state.unlink(missing_ok=True)
    plot = out.with_suffix(".training.png")
    write_atomically(curve, "".join(f"{one.model_dump_json()}\n" for one in report.history).encode())
    write_atomically(plot, training_plot(report.history, out.name))
    reached = None if report.best_epoch is None else report.history[report.best_epoch - 1].tune_error
    final = {
        "loss": report.history[-1].loss,
        "tune_error": reached,
        "best_epoch": report.best_epoch,
        "images_seen": report.images_seen,
        "precision": report.precision,
        "seconds": round(report.seconds, 1),
    }
    if taught_by is not None:
        final["teacher_tune_error"] = taught_by
        if reached is not None:
            _warn_of_teacher(taught_by, reached, "at the end")
    written = {"checkpoint": str(out), "curve": str(curve), "plot": str(plot)}
    return {**written, **_written_scales(report, out, norms), **final, **cost(network)}


def _shapes(options: Options) -> tuple[Shape, ...]:
    """What the network will read; nothing: any size."""
    return () if options.size is None else (shape_of(options.size),)


def _warn_of_teacher(teacher: float, student: float, when: str) -> None:
    if teacher > student:
        warn(
            f"the teacher errs more on tune ({teacher:.5f}) than its student {when} ({student:.5f}): "
            "it may hold the student back; a better one, or none, may do more"
        )


def _keeper(options: Options, state: Path, provenance: Result) -> Callable[[int, PrunableNetwork], None]:
    """What writes the checkpoint of an epoch beside `--out`; those of an earlier run go before a new one begins."""
    out: Path = options.out
    if not state.exists():
        earlier = sorted(out.parent.glob(f"{glob.escape(out.stem)}-epoch-*{glob.escape(out.suffix)}"))
        require_free(options, *earlier)
        for path in earlier:
            path.unlink()

    def keep(epoch: int, averaged: PrunableNetwork) -> None:
        path = out.with_name(f"{out.stem}-epoch-{epoch:03d}{out.suffix}")
        save_checkpoint(averaged, path, {**provenance, "epoch": epoch})

    return keep


def _plotted_norms(network: PrunableNetwork, config: TrainingConfig, options: Options) -> list[str]:
    """The norms whose scales get a plot of their own; none without sparse training."""
    if config.sparsity is None:
        if options.sparsity_norms is not None:
            raise UsageError("--sparsity-norms would do nothing without --sparsity")
        return []
    frozen = "backbone." if config.freeze_backbone else ()
    norms = [name for name in prunable_scales(network) if not name.startswith(frozen)]
    return matching_norms(norms, options.sparsity_norms or ())


def _written_scales(report: TrainingReport, checkpoint: Path, norms: Sequence[str]) -> Result:
    """What sparse training did to the batch-norm scales, as data and as plots beside the checkpoint."""
    if not report.scales:
        return {}
    data, plot = checkpoint.with_suffix(".scales.json"), checkpoint.with_suffix(".scales.png")
    epochs = [scales.model_dump() for scales in report.scales]
    write_atomically(data, json.dumps({"bins": SCALE_BINS, "epochs": epochs}).encode())
    write_atomically(plot, gamma_plot(report.scales, checkpoint.name))
    written = {"scales": str(data), "scales_plot": str(plot)}
    for norm in norms:
        of_norm = [scales.norms[norm] for scales in report.scales if norm in scales.norms]
        if of_norm:  # a run that an earlier version began has none of its first epochs
            path = checkpoint.with_suffix(f".scales-{norm}.png")
            write_atomically(path, gamma_plot(of_norm, f"{checkpoint.name}: {norm}"))
            written[f"scales_plot of {norm}"] = str(path)
    return written
