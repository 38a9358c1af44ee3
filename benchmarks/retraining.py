"""How a pruned network gets its accuracy back: sizes retrained by one recipe, and ways of retraining one size.

python -m benchmarks.retraining --dataset portraits.zip --base modnet.ckpt [RUN …]   # what is missing, then the report
python -m benchmarks.retraining --report                                            # tables and plots alone

A RUN is `sizes` (all of them), `others` (the headline by other recipes and plans), `study`, or the name of one. Each
leaves RUN.json (how, scores of every image, conditions) and RUN.training.jsonl (the curve) in retraining/ and its
network in `--weights`; what has a RUN.json is not run again, and a run that was cut goes on from its last saved state.
Scores: protocol `seed`, float32.
"""

from __future__ import annotations

import argparse
import copy
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.retraining_plots import sizes_plot, study_plot
from benchmarks.retraining_report import (
    BASE,
    Json,
    Results,
    recipe_differences,
    sizes_table,
    smallest_accepted,
    study_differences,
    study_table,
)
from benchmarks.retraining_runs import GROUPS, Run, Runs
from modnet.checkpoint import save_checkpoint
from modnet.data.archives import extract_archive
from modnet.data.download import sha256_of_file
from modnet.errors import ConfigError
from modnet.files import write_atomically
from modnet.pruning.complexity import complexity
from modnet.pruning.plan import PruningPlan, network_digest
from modnet.pruning.surgery import apply_plan
from modnet.records import TrainingReport
from modnet.training.state import TrainingState
from modnet.workloads.matting.checkpoint import load, read_checkpoint
from modnet.workloads.matting.data.indexing import DatasetIndex, index_dataset
from modnet.workloads.matting.evaluate import evaluate
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.predict.predictors import TorchPredictor
from tasks.training_run import run_training

RESULTS = Path(__file__).resolve().parent / "retraining"


@dataclass(frozen=True)
class Place:
    """Where images are read, networks are written, and everything is computed."""

    images: Path
    index: DatasetIndex
    weights: Path
    device: str


def main(arguments: Sequence[str] | None = None, groups: Mapping[str, Runs] = GROUPS) -> int:
    """Trains what is missing, then prints the tables and draws the plots."""
    every = {name: run for runs in groups.values() for name, run in runs.items()}
    parser = argparse.ArgumentParser(description="How a pruned network gets its accuracy back.")
    parser.add_argument("runs", nargs="*", metavar="RUN", default=["sizes"], help=", ".join([*groups, *every]))
    parser.add_argument("--dataset", type=Path, help="zip of portraits")
    parser.add_argument("--base", type=Path, help="unpruned checkpoint")
    parser.add_argument("--cache", type=Path, default=Path(".modnet/cache/datasets"), help="where the zip is extracted")
    parser.add_argument("--weights", type=Path, default=Path(".modnet/retraining"), help="where networks go")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where results go, and are read")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.runs if name not in every | dict(groups)]:
        parser.error(f"no such runs: {', '.join(unknown)}; there are {', '.join([*groups, *every])}")
    results = Results(options.results)
    if not options.report:
        if options.dataset is None or options.base is None:
            parser.error("--dataset and --base are needed unless --report is given")
        for folder in (options.results, options.weights):
            folder.mkdir(parents=True, exist_ok=True)
        images = extract_archive(options.dataset, options.cache)
        place = Place(images, index_dataset(images), options.weights, options.device)
        base = load(options.base)
        names = itertools.chain.from_iterable(groups.get(one, [one]) for one in options.runs)
        make_missing({name: every[name] for name in names}, base, place, results)
    elif not results.has(BASE):
        parser.error(f"nothing to report: {results.path(BASE)} is missing")
    print(sizes_table(results, groups["sizes"], groups["others"]))
    print(recipe_differences(results, groups["sizes"], groups["others"]))
    print(smallest_accepted(results, groups["sizes"]))
    write_atomically(results.folder / "sizes.png", sizes_plot(results, groups["sizes"]))
    if any(results.has(name) for name in groups["study"]):
        print(study_table(results, groups["study"]))
        print(study_differences(results, groups["study"]))
        write_atomically(results.folder / "study.png", study_plot(results, groups["study"]))
    return 0


def make_missing(runs: Runs, base: MODNet, place: Place, results: Results) -> None:
    """Scores the base, and retrains and scores what has no result yet.

    Raises:
        ConfigError: a result is there, made of another question.
    """
    if results.has(BASE):
        _require_same({"base": network_digest(base)}, results.read(BASE), results.path(BASE), "--results")
    else:
        results.write(BASE, {"base": network_digest(base)} | scored(base, place))
    for name, run in runs.items():
        question = asked(run, base, place)
        if results.has(name):
            _require_same(question, results.read(name), results.path(name), "--results")
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
            _require_same(until_here, read_checkpoint(trained).provenance, trained, "--weights")
        else:
            report = run_training(
                network,
                place.images,
                place.index,
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


def _require_same(question: Json, found: Mapping[str, Any], path: Path, flag: str) -> None:
    """Refuses what an earlier call made of another question."""
    if other := [name for name in question if found.get(name) != question[name]]:
        raise ConfigError(f"{path} was made with other {', '.join(other)}: name another {flag}, or remove it")


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
    """Parameters, MACs at 512×512, and the errors of every image of tune and val, protocol `seed`, float32."""
    cost = complexity(network)
    predictor = TorchPredictor(network, "seed", place.device)
    scores = {
        split: evaluate(predictor, place.images, place.index, split, "seed").model_dump(mode="json", exclude_none=True)
        for split in ("tune", "val")
    }
    return {"parameters": cost.parameters, "macs": cost.macs} | scores


if __name__ == "__main__":
    raise SystemExit(main())
