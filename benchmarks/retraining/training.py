"""Carries out runs of `benchmarks.retraining`: prunes, retrains, scores, and leaves a result of each."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.inputs import PROTOCOL, Json, require_same
from benchmarks.retraining.results import BASE, Results
from benchmarks.retraining.runs import Run, Runs
from modnet.checkpoint import save_checkpoint
from modnet.data.download import sha256_of_file
from modnet.files import write_atomically
from modnet.pruning.complexity import complexity
from modnet.pruning.plan import PruningPlan, network_digest
from modnet.pruning.surgery import apply_plan
from modnet.records import TrainingReport
from modnet.training.state import TrainingState
from modnet.workloads.matting.checkpoint import load, read_checkpoint
from modnet.workloads.matting.data.indexing import DatasetIndex
from modnet.workloads.matting.evaluate import evaluate
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.portraits import Portraits
from modnet.workloads.matting.predict.predictors import TorchPredictor
from modnet.workloads.matting.workload import MATTING
from tasks.training_run import run_training


@dataclass(frozen=True)
class Place:
    """Where images are read, networks are written, and everything is computed."""

    images: Path
    index: DatasetIndex
    weights: Path
    device: str


def make_missing(runs: Runs, base: MODNet, place: Place, results: Results) -> None:
    """Scores the base, and retrains and scores what has no result yet.

    Raises:
        ConfigError: a result is there, made of another question.
    """
    if results.has(BASE):
        require_same({"base": network_digest(base)}, results.read(BASE), results.path(BASE), "--results")
    else:
        results.write(BASE, {"base": network_digest(base)} | scored(base, place))
    for name, run in runs.items():
        question = asked(run, base, place)
        if results.has(name):
            require_same(question, results.read(name), results.path(name), "--results")
        else:
            carry_out(name, run, question, base, place, results)


def asked(run: Run, base: MODNet, place: Place) -> Json:
    """All that a run's result depends on."""
    return {
        "base": network_digest(base),
        "plan": sha256_of_file(run.plan),
        "data": place.images.name,
        "seed": run.seed,
        "phases": [phase.model_dump(mode="json") for phase in run.phases],
    }


def carry_out(name: str, run: Run, question: Json, base: MODNet, place: Place, results: Results) -> None:
    """Prunes, retrains and scores one network; writes all that is known of it.

    Raises:
        ConfigError: a phase's network is there, made by other settings.
    """
    network = first_weights(apply_plan(base, PruningPlan.from_json(run.plan.read_text(), str(run.plan))), run)
    reports: list[TrainingReport] = []
    for number, phase in enumerate(run.phases):
        trained, told, state = (
            place.weights / f"{name}-{number}{suffix}" for suffix in (".safetensors", ".json", ".training-state")
        )
        until_here = question | {"phases": question["phases"][: number + 1]}
        if trained.exists():
            require_same(until_here, read_checkpoint(trained).provenance, trained, "--weights")
        else:
            report = run_training(
                network,
                MATTING,
                Portraits(place.images, place.index),
                phase,
                seed=run.seed,
                device=place.device,
                save=_writer(state),
                saved=state.read_bytes() if state.exists() else None,
                teacher=copy.deepcopy(base) if phase.distillation else None,
            )
            write_atomically(told, report.model_dump_json().encode())
            save_checkpoint(network, trained, until_here)
            state.unlink(missing_ok=True)
        network = load(trained)
        reports.append(TrainingReport.model_validate_json(told.read_text()))
    save_checkpoint(network, place.weights / f"{name}.safetensors", {"run": name}, half=True)
    curve = "".join(f"{epoch.model_dump_json()}\n" for report in reports for epoch in report.history)
    write_atomically(results.path(name).with_suffix(".training.jsonl"), curve.encode())
    on_cpu = place.device == "cpu"
    conditions = question | {
        "images_seen": sum(report.images_seen for report in reports),
        "seconds": round(sum(report.seconds for report in reports), 1),
        "precision": sorted({report.precision for report in reports}),
        "device": f"CPU, {torch.get_num_threads()} threads" if on_cpu else torch.cuda.get_device_name(place.device),
        "torch": torch.__version__,
    }
    results.write(name, conditions | scored(network, place))


def _writer(path: Path) -> Callable[[TrainingState], None]:
    return lambda state: write_atomically(path, state.to_bytes())


def first_weights(pruned: MODNet, run: Run) -> MODNet:
    """What the first phase starts from. Without a trained backbone there is none to fix: a fixed one is inherited."""
    phase = run.phases[0]
    if phase.initialise == "pruned":
        return pruned
    torch.manual_seed(run.seed)
    network = MODNet(pruned.spec)
    if phase.freeze_backbone:
        network.backbone.load_state_dict(pruned.backbone.state_dict())
    return network


def scored(network: MODNet, place: Place) -> Json:
    """Parameters, MACs at 512×512, and the errors of every image of tune and val, float32."""
    cost = complexity(network)
    predictor = TorchPredictor(network, PROTOCOL, place.device)
    tune, val = (
        evaluate(predictor, place.images, place.index, split, PROTOCOL).model_dump(mode="json", exclude_none=True)
        for split in ("tune", "val")
    )
    return {"parameters": cost.parameters, "macs": cost.macs, "tune": tune, "val": val}
