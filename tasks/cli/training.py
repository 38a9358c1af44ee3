"""`modnet train` and `modnet retrain`."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from modnet.checkpoint import read_checkpoint, save_checkpoint
from modnet.configs import RetrainConfig, TrainingConfig
from modnet.data.dataset import MattingDataset
from modnet.evaluation.gamma_plot import gamma_plot
from modnet.files import write_atomically
from modnet.models.modnet import MODNet
from modnet.records import TrainingReport
from modnet.spec import ModnetSpec
from modnet.training.retrain import retrain as train_network
from modnet.training.slimming import SCALE_BINS
from tasks.cli import flags
from tasks.cli.flags import Options, Result, Verbs
from tasks.cli.given import cost, given_dataset, given_training


def add_to(verbs: Verbs) -> None:
    """Adds the verbs of this file."""
    common = (flags.dataset(), flags.seed(), flags.device(), flags.out_checkpoint())
    verbs.add("train", train, *common, flags.training())
    verbs.add("retrain", retrain, flags.network(), *common, flags.retraining())


def train(options: Options) -> Result:
    """Trains an unpruned network from random weights."""
    torch.manual_seed(options.seed)
    config = given_training(TrainingConfig, options)
    return _trained(MODNet(ModnetSpec.full()), config, options, {"training": config.model_dump()})


def retrain(options: Options) -> Result:
    """Retrains a pruned network."""
    checkpoint = read_checkpoint(options.checkpoint, options.prune_info)
    config = given_training(RetrainConfig, options)
    network = checkpoint.network
    if config.initialise == "scratch":
        torch.manual_seed(options.seed)
        network = MODNet(network.spec)
    return _trained(network, config, options, {**checkpoint.provenance, "retrain": config.model_dump()})


def _trained(network: MODNet, config: TrainingConfig, options: Options, provenance: Result) -> Result:
    """Trains and saves; a cut run goes on from the state file beside the output."""
    folder, index = given_dataset(options.dataset)
    samples = MattingDataset(
        folder, index.split("fit"), size=config.image_size, seed=options.seed, augment=config.augmentation
    )
    state = options.out.with_name(options.out.name + ".training-state")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    report: TrainingReport = train_network(
        network.to(options.device),
        samples,
        config,
        seed=options.seed,
        resume_from=state.read_bytes() if state.exists() else None,
        after_epoch=lambda epoch, content: write_atomically(state, content),
    )
    save_checkpoint(network.to("cpu"), options.out, {**provenance, "seed": options.seed})
    state.unlink(missing_ok=True)
    final = {"loss": report.epoch_losses[-1], "images_seen": report.images_seen, "seconds": round(report.seconds, 1)}
    return {"checkpoint": str(options.out), **_written_scales(report, options.out), **final, **cost(network)}


def _written_scales(report: TrainingReport, checkpoint: Path) -> Result:
    """What sparse training did to the batch-norm scales, as data and as a plot beside the checkpoint."""
    if not report.scales:
        return {}
    data, plot = checkpoint.with_suffix(".scales.json"), checkpoint.with_suffix(".scales.png")
    epochs = [scales.model_dump() for scales in report.scales]
    write_atomically(data, json.dumps({"bins": SCALE_BINS, "epochs": epochs}).encode())
    write_atomically(plot, gamma_plot(report.scales, checkpoint.name))
    return {"scales": str(data), "scales_plot": str(plot)}
