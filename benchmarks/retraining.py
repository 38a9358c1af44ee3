"""Pruned networks of several sizes, retrained by one recipe, against the network that they were pruned from.

python -m benchmarks.retraining --dataset portraits.zip --base modnet.ckpt [SIZE …]   # what is missing, then the report
python -m benchmarks.retraining --report                                              # table and plot alone

A size is a plan: `headline` (headline.json) or a file in sizes/. Each run leaves SIZE.json (how, scores of every
image, conditions) and SIZE.training.jsonl (the curve) in retraining/ and its network in `--weights`; what has a
SIZE.json is not run again, and a run that was cut goes on from its last saved state. Scores: protocol `seed`, float32.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from benchmarks.headline import PLAN
from modnet.checkpoint import load, save_checkpoint
from modnet.configs import AugmentationConfig, RetrainConfig
from modnet.data.archives import DatasetIndex, extract_archive, index_dataset
from modnet.data.dataset import MattingDataset
from modnet.evaluation.complexity import complexity
from modnet.evaluation.evaluate import evaluate
from modnet.evaluation.intervals import difference_interval
from modnet.evaluation.pictures import png
from modnet.files import write_atomically
from modnet.inference.predictors import TorchPredictor
from modnet.models.modnet import MODNet
from modnet.pruning.plan import PruningPlan, network_digest
from modnet.pruning.surgery import apply_plan
from modnet.records import MattingScores, TrainingReport
from modnet.training.retrain import retrain
from modnet.training.state import TrainingState
from tasks.leaderboard import markdown_table

FOLDER = Path(__file__).resolve().parent / "retraining"
PLOT = FOLDER / "sizes.png"
PLANS = {"headline": PLAN} | {path.stem: path for path in sorted((FOLDER.parent / "sizes").glob("*.json"))}
BASE = "base"  # the unpruned network's scores stand beside the others'
SAVE_EVERY_S = 60.0
SEED = 0

_COMMON = RetrainConfig(batch_size=4, average_decay=0.995, validate_every=None, precision="bf16")
RECIPE = (
    # Many cheap steps first; then few at the scale of use, where crops show the whole person as well.
    _COMMON.model_copy(
        update={
            "image_size": 288,
            "epochs": 8,
            "learning_rate": 1e-3,
            "augmentation": AugmentationConfig(smallest_crop=0.4, largest_crop=1.2),
        }
    ),
    _COMMON.model_copy(
        update={
            "image_size": 448,
            "epochs": 5,
            "learning_rate": 7e-4,
            "augmentation": AugmentationConfig(smallest_crop=0.5, largest_crop=1.5),
        }
    ),
)
PUBLISHED = (("MODNet", 18.32, 0.009912), ("MODNet-P", 4.38, 0.018713))  # the seed's, other data, training graph


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains what is missing, then prints the table and draws the plot."""
    parser = argparse.ArgumentParser(description="Pruned networks of several sizes, retrained by one recipe.")
    parser.add_argument("sizes", nargs="*", metavar="SIZE", help=f"of {', '.join(PLANS)}; default: all")
    parser.add_argument("--dataset", type=Path, help="zip of portraits")
    parser.add_argument("--base", type=Path, help="unpruned checkpoint")
    parser.add_argument("--cache", type=Path, default=Path(".modnet/cache/datasets"), help="where the zip is extracted")
    parser.add_argument("--weights", type=Path, default=Path(".modnet/retraining"), help="where networks go")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args(arguments)
    if unknown := [size for size in options.sizes if size not in PLANS]:
        parser.error(f"no such sizes: {', '.join(unknown)}; there are {', '.join(PLANS)}")
    if not options.report:
        if options.dataset is None or options.base is None:
            parser.error("--dataset and --base are needed unless --report is given")
        FOLDER.mkdir(exist_ok=True)
        folder = extract_archive(options.dataset, options.cache)
        index = index_dataset(folder)
        base = load(options.base)
        if not _result(BASE).exists():
            _write_result(BASE, {"base": network_digest(base)}, base, folder, index, options.device)
        for size in options.sizes or PLANS:
            if not _result(size).exists():
                retrained(size, base, folder, index, options.weights, options.device)
    print(table())
    write_atomically(PLOT, plot())
    return 0


def retrained(size: str, base: MODNet, folder: Path, index: DatasetIndex, weights: Path, device: str) -> None:
    """Prunes, retrains and scores one network; writes all that is known of it."""
    network = apply_plan(base, PruningPlan.from_json(PLANS[size].read_text()))
    weights.mkdir(parents=True, exist_ok=True)
    reports: list[TrainingReport] = []
    for number, phase in enumerate(RECIPE):
        trained, report_path = (weights / f"{size}-{number}{suffix}" for suffix in (".safetensors", ".json"))
        state = trained.with_suffix(".training-state")
        if not trained.exists():
            report = retrain(
                network.to(device),
                MattingDataset(
                    folder, index.split("fit"), size=phase.image_size, seed=SEED, augment=phase.augmentation
                ),
                phase,
                seed=SEED,
                resume_from=state.read_bytes() if state.exists() else None,
                after_step=partial(_save_sometimes, state, [time.monotonic()]),
            )
            write_atomically(report_path, report.model_dump_json().encode())
            save_checkpoint(network.cpu(), trained, {"size": size, "phase": number})
            state.unlink(missing_ok=True)
        network = load(trained)
        reports.append(TrainingReport.model_validate_json(report_path.read_text()))
    save_checkpoint(network, weights / f"{size}.safetensors", {"size": size}, half=True)
    curve = "".join(f"{epoch.model_dump_json()}\n" for report in reports for epoch in report.history)
    write_atomically(_result(size).with_suffix(".training.jsonl"), curve.encode())
    conditions = {
        "base": network_digest(base),
        "phases": [phase.model_dump() for phase in RECIPE],
        "seed": SEED,
        "images_seen": sum(report.images_seen for report in reports),
        "seconds": round(sum(report.seconds for report in reports), 1),
        "device": torch.cuda.get_device_name(device) if device != "cpu" else f"CPU, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
    }
    _write_result(size, conditions, network, folder, index, device)


def table() -> str:
    """One row for each network: size, errors, and by how much they differ from the unpruned network's."""
    base = MattingScores.model_validate(_read_result(BASE)["val"])
    rows = []
    for name, result in _results():
        val = MattingScores.model_validate(result["val"])
        differs = difference_interval(val, base, "mse")
        rows.append(
            {
                "network": name,
                "M": f"{result['parameters'] / 1e6:.3f}",
                "GMAC": f"{result['macs'] / 1e9:.2f}",
                "tune MSE": f"{result['tune']['mse']:.6f}",
                "val MSE": f"{val.mse:.6f}",
                "× base": f"{val.mse / base.mse:.2f}",
                "val MSE less base's (95 %)": f"{differs.mean:+.5f} ({differs.low:+.5f} to {differs.high:+.5f})",
                "val MAD": f"{val.mad:.6f}",
                "MAD × base": f"{val.mad / base.mad:.2f}",
                "images": str(result.get("images_seen", "")),
                "min": f"{result['seconds'] / 60:.0f}" if "seconds" in result else "",
            }
        )
    return markdown_table(rows)


def plot() -> bytes:
    """MSE against MACs, and the published networks, whose data and counting are others."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    points = [(result["macs"] / 1e9, result["val"]["mse"], name) for name, result in _results()]
    axes.plot([x for x, _, _ in points], [y for _, y, _ in points], "o-", label="this project, val of the photographs")
    axes.plot(
        [x for _, x, _ in PUBLISHED],
        [y for _, _, y in PUBLISHED],
        "s--",
        color="grey",
        alpha=0.7,
        label="MODNet-ModelCompression as published: other photographs, MACs of the training graph",
    )
    for x, y, name in (*points, *((x, y, name) for name, x, y in PUBLISHED)):
        axes.annotate(name, (x, y), textcoords="offset points", xytext=(6, 6), fontsize=9)
    axes.set(xlabel="GMAC, 512×512", ylabel="MSE on val, protocol seed", title="Size and accuracy after retraining")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right", fontsize=8)
    return png(figure)


def _results() -> list[tuple[str, dict[str, Any]]]:
    """What is known of every network, the costliest first."""
    found = [(name, _read_result(name)) for name in (BASE, *PLANS) if _result(name).exists()]
    return sorted(found, key=lambda one: -one[1]["macs"])


def _result(name: str) -> Path:
    return FOLDER / f"{name}.json"


def _read_result(name: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(_result(name).read_text())
    return result


def _write_result(
    name: str, conditions: dict[str, Any], network: MODNet, folder: Path, index: DatasetIndex, device: str
) -> None:
    cost = complexity(network)
    predictor = TorchPredictor(network, "seed", device)
    scores = {
        split: evaluate(predictor, folder, index, split, "seed").model_dump(mode="json", exclude_none=True)
        for split in ("tune", "val")
    }
    content = conditions | {"parameters": cost.parameters, "macs": cost.macs} | scores
    write_atomically(_result(name), json.dumps(content, indent=1).encode() + b"\n")


def _save_sometimes(path: Path, saved_at: list[float], state: TrainingState) -> None:
    if time.monotonic() - saved_at[0] >= SAVE_EVERY_S:
        write_atomically(path, state.to_bytes())
        saved_at[0] = time.monotonic()


if __name__ == "__main__":
    raise SystemExit(main())
