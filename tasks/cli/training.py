"""`modnet train` and `modnet retrain`."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from modnet.checkpoint import checkpoint_path, load, read_checkpoint, save_checkpoint
from modnet.configs import AdaptationConfig, DistillationConfig, RetrainConfig, TrainingConfig
from modnet.data.archives import find_images
from modnet.data.dataset import UnlabelledDataset
from modnet.data.download import sha256_of_file
from modnet.evaluation.gamma_plot import gamma_plot
from modnet.evaluation.training_plot import training_plot
from modnet.files import write_atomically
from modnet.models.modnet import MODNet
from modnet.records import TrainingReport
from modnet.spec import ModnetSpec
from modnet.training.adaptation import adapt as adapt_network
from modnet.training.slimming import SCALE_BINS
from tasks.cli import flags
from tasks.cli.flags import Options, Result, UsageError, Verbs
from tasks.cli.given import cost, given_config, given_dataset, given_training
from tasks.cli.pruning_flags import add_fields, flag_names
from tasks.training_run import run_training, start_from_backbone

_TAUGHT = ("distill_features", "unlabelled")


def add_to(verbs: Verbs) -> None:
    """Adds the verbs of this file."""
    common = (flags.dataset(), flags.seed(), flags.device(), flags.out_checkpoint())
    training = verbs.add("train", train, *common, flags.training())
    training.add_argument("--backbone", type=Path, help="start from a MobileNetV2 with folded norms (.npz)")
    retraining = verbs.add("retrain", retrain, flags.network(), *common, flags.retraining())
    features = DistillationConfig.model_fields["features"].description
    teacher = "unpruned checkpoint to learn from as well"
    retraining.add_argument("--teacher", type=checkpoint_path, help=f"{teacher}: {flags.CHECKPOINT}")
    retraining.add_argument("--unlabelled", type=Path, help="with --teacher: a folder of images without mattes")
    retraining.add_argument("--distill-features", type=float, help=f"with --teacher. {features}")
    for verb in (training, retraining):
        verb.add_argument(
            "--workers", type=flags.natural, default=0, help="processes that compute samples (default: a thread)"
        )
    adaptation = verbs.add("adapt", adapt, flags.network(), flags.seed(), flags.device(), flags.out_checkpoint())
    adaptation.add_argument("--images", type=Path, required=True, help="a folder of images, no mattes needed")
    fields = {"epochs": int, "batch_size": int, "image_size": int, "learning_rate": float, "max_unreadable": int}
    add_fields(adaptation, AdaptationConfig, **fields)


def train(options: Options) -> Result:
    """Trains an unpruned network, from random weights or from a backbone that has learnt something else."""
    torch.manual_seed(options.seed)
    config = given_training(TrainingConfig, options)
    network = MODNet(ModnetSpec.full())
    provenance = {"training": config.model_dump()}
    if options.backbone is not None:
        start_from_backbone(network, options.backbone, *given_dataset(options.dataset), config, options.seed)
        provenance["backbone"] = {"file": options.backbone.name, "sha256": sha256_of_file(options.backbone)}
    return _trained(network, config, options, provenance)


def adapt(options: Options) -> Result:
    """Adapts a trained network to images without mattes."""
    config = given_config(AdaptationConfig, options)
    checkpoint = read_checkpoint(options.checkpoint, options.prune_info)
    images = UnlabelledDataset(options.images, find_images(options.images), size=config.image_size, seed=options.seed)
    report = adapt_network(checkpoint.network.to(options.device), images, config, seed=options.seed)
    provenance = {**checkpoint.provenance, "adapt": config.model_dump(), "seed": options.seed}
    save_checkpoint(checkpoint.network.to("cpu"), options.out, provenance)
    losses = {f"{name}_loss": value for name, value in report.history[-1].losses.items()}
    return {"checkpoint": str(options.out), "images": len(images), **losses, "seconds": round(report.seconds, 1)}


def retrain(options: Options) -> Result:
    """Retrains a pruned network."""
    if options.teacher is None and (idle := [name for name in _TAUGHT if getattr(options, name) is not None]):
        raise UsageError(f"{flag_names(idle)} would do nothing without --teacher")
    checkpoint = read_checkpoint(options.checkpoint, options.prune_info)
    distillation = None
    if options.teacher is not None:
        distillation = given_config(DistillationConfig, options, {"features": "distill_features"})
    config = given_training(RetrainConfig, options, distillation=distillation)
    network = checkpoint.network
    if config.initialise == "scratch":
        torch.manual_seed(options.seed)
        network = MODNet(network.spec)
    teacher = None if options.teacher is None else load(options.teacher)
    return _trained(
        network, config, options, {**checkpoint.provenance, "retrain": config.model_dump()}, teacher, options.unlabelled
    )


def _trained(
    network: MODNet,
    config: TrainingConfig,
    options: Options,
    provenance: Result,
    teacher: MODNet | None = None,
    unlabelled: Path | None = None,
) -> Result:
    """Trains and saves; a cut run goes on from the state file beside the output."""
    folder, index = given_dataset(options.dataset)
    state = options.out.with_name(options.out.name + ".training-state")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    report = run_training(
        network,
        folder,
        index,
        config,
        seed=options.seed,
        device=options.device,
        save=lambda reached: write_atomically(state, reached.to_bytes()),
        saved=state.read_bytes() if state.exists() else None,
        workers=options.workers,
        teacher=teacher,
        unlabelled=unlabelled,
    )
    save_checkpoint(network, options.out, {**provenance, "seed": options.seed})
    state.unlink(missing_ok=True)
    curve, plot = options.out.with_suffix(".training.jsonl"), options.out.with_suffix(".training.png")
    write_atomically(curve, "".join(f"{one.model_dump_json()}\n" for one in report.history).encode())
    write_atomically(plot, training_plot(report.history, options.out.name))
    final = {
        "loss": report.history[-1].loss,
        "tune_mse": None if report.best_epoch is None else report.history[report.best_epoch - 1].tune_mse,
        "best_epoch": report.best_epoch,
        "images_seen": report.images_seen,
        "precision": report.precision,
        "seconds": round(report.seconds, 1),
    }
    written = {"checkpoint": str(options.out), "curve": str(curve), "plot": str(plot)}
    return {**written, **_written_scales(report, options.out), **final, **cost(network)}


def _written_scales(report: TrainingReport, checkpoint: Path) -> Result:
    """What sparse training did to the batch-norm scales, as data and as a plot beside the checkpoint."""
    if not report.scales:
        return {}
    data, plot = checkpoint.with_suffix(".scales.json"), checkpoint.with_suffix(".scales.png")
    epochs = [scales.model_dump() for scales in report.scales]
    write_atomically(data, json.dumps({"bins": SCALE_BINS, "epochs": epochs}).encode())
    write_atomically(plot, gamma_plot(report.scales, checkpoint.name))
    return {"scales": str(data), "scales_plot": str(plot)}
