"""Which rule removes the right channels? MSE on val of the network that is left, before any retraining.

python -m benchmarks.ranking --dataset portraits.zip --base modnet.ckpt   # what ranking.json lacks; table and plot
python -m benchmarks.ranking --report                                    # table and plot alone

Every network is brought to 10, 20, 30 and 40 % fewer MACs of the deployed graph by a budget and one criterion, widths
in multiples of 8. The rule and copying of MODNet-ModelCompression has no budget: the setting nearest in MACs is taken.
What was reached is printed beside each score. Scores: MODNet-ModelCompression's protocol, float32.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import torch
from matplotlib.figure import Figure

from benchmarks.inputs import PROTOCOL, RESULTS, extracted, input_parser
from benchmarks.modelcompression.copying import buildable_settings, copied_network
from modnet.configs import BudgetPolicy, PruningConfig
from modnet.export.torch_to_onnx import export_onnx
from modnet.files import write_atomically
from modnet.pruning.complexity import complexity
from modnet.pruning.plan import network_digest
from modnet.pruning.surgery import apply_plan
from modnet.report.pictures import png
from modnet.workloads.matting.checkpoint import load
from modnet.workloads.matting.data.indexing import DatasetIndex
from modnet.workloads.matting.evaluate import evaluate
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.portraits import Portraits
from modnet.workloads.matting.predict.openvino_predictors import OnnxPredictor
from modnet.workloads.matting.workload import MATTING
from tasks.pruning_evidence import plan_with_evidence
from tasks.tables import markdown_table

DONE, PLOT = RESULTS / "ranking.json", RESULTS / "ranking.png"
REDUCTIONS = (0.1, 0.2, 0.3, 0.4)
MODELCOMPRESSION = "rule and copying of MODNet-ModelCompression"
METHODS: dict[str, dict[str, Any]] = {
    "random": {"criterion": "random"},
    "L1": {"criterion": "l1"},
    "L2": {"criterion": "l2"},
    "batch-norm scale": {"criterion": "bn_scale"},
    "geometric median": {"criterion": "geometric_median"},
    "Taylor": {"criterion": "taylor", "taylor_steps": 1},
    "Taylor, 4 looks": {"criterion": "taylor", "taylor_steps": 4},
}


class Cell(NamedTuple):
    """One network: how it was made, and how to make it."""

    method: str
    reduction: float
    make: Callable[[], MODNet]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures what is missing, then prints the table and draws the plot."""
    parser = input_parser("MSE on val after pruning, before retraining, by criterion.", required=False)
    parser.add_argument("--report", action="store_true", help="measure nothing")
    options = parser.parse_args(arguments)
    if not options.report:
        if options.dataset is None or options.base is None:
            parser.error("--dataset and --base are needed unless --report is given")
        measure(options.dataset, options.base, options.cache)
    results = json.loads(DONE.read_text())
    print(table(results))
    write_atomically(PLOT, plot(results))
    return 0


def measure(dataset: Path, base: Path, cache: Path) -> None:
    """Adds the missing cells to `DONE`, one after the other, so that a killed run goes on where it was."""
    network = load(base).eval()
    folder, index = extracted(dataset, cache)
    digest = network_digest(network)
    results = json.loads(DONE.read_text()) if DONE.exists() else {}
    if results.get("base") != digest:
        results = {"base": digest, "unpruned": scored(network, folder, index), "cells": []}
    done = {(cell["method"], cell["reduction"]) for cell in results["cells"]}
    for cell in _cells(network, folder, index):
        if (cell.method, cell.reduction) not in done:
            score = {"method": cell.method, "reduction": cell.reduction, **scored(cell.make(), folder, index)}
            results["cells"].append(score)
            write_atomically(DONE, json.dumps(results, indent=1).encode())
            print(score, flush=True)


def table(results: dict[str, Any]) -> str:
    """One row per method, one column per reduction: MSE, the share of MACs removed, parameters left in millions."""
    whole = results["unpruned"]["macs"]
    cells = {(cell["method"], cell["reduction"]): cell for cell in results["cells"]}
    rows = []
    for method in (MODELCOMPRESSION, *METHODS):
        row = {"criterion": method}
        for reduction in REDUCTIONS:
            cell = cells.get((method, reduction))
            reached = "" if cell is None else f"{1 - cell['macs'] / whole:.1%}, {cell['parameters'] / 1e6:.2f} M"
            row[f"-{reduction:.0%} MACs"] = "" if cell is None else f"{cell['mse']:.4f} ({reached})"
        rows.append(row)
    unpruned = results["unpruned"]
    return f"unpruned: MSE {unpruned['mse']:.6f}, {unpruned['macs'] / 1e9:.2f} GMAC\n\n{markdown_table(rows)}"


def plot(results: dict[str, Any]) -> bytes:
    """MSE on a logarithmic axis against the share of MACs that is left."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes = figure.subplots()
    unpruned = results["unpruned"]
    for method in (MODELCOMPRESSION, *METHODS):
        cells = sorted((c for c in results["cells"] if c["method"] == method), key=lambda cell: -cell["macs"])
        shares = [1.0, *(cell["macs"] / unpruned["macs"] for cell in cells)]
        style = "--" if method == MODELCOMPRESSION else "-"
        axes.plot(shares, [unpruned["mse"], *(cell["mse"] for cell in cells)], style, marker="o", label=method)
    axes.invert_xaxis()
    axes.set(
        xlabel="MACs of the deployed graph, share of the unpruned network's",
        ylabel="MSE on val, no retraining",
        yscale="log",
        title="Which channels to remove",
    )
    axes.grid(alpha=0.3, which="both")
    figure.legend(loc="outside lower center", ncols=3)
    return png(figure)


def _cells(network: MODNet, folder: Path, index: DatasetIndex) -> Iterator[Cell]:
    unpruned = complexity(network).macs
    settings = list(buildable_settings(network))
    for reduction in REDUCTIONS:
        budget = round((1 - reduction) * unpruned)
        nearest = min(settings, key=lambda setting: abs(setting.macs - budget))
        yield Cell(MODELCOMPRESSION, reduction, partial(copied_network, network, nearest.threshold, nearest.ratio))
        for method, fields in METHODS.items():
            config = PruningConfig(policy=BudgetPolicy(max_macs=budget), **fields)
            yield Cell(method, reduction, partial(_pruned, network, config, folder, index))


def _pruned(network: MODNet, config: PruningConfig, folder: Path, index: DatasetIndex) -> MODNet:
    return apply_plan(
        network, plan_with_evidence(network, config, MATTING, lambda: Portraits(folder, index), threads=2)
    )


def scored(
    network: MODNet, folder: Path, index: DatasetIndex, split: Literal["tune", "val"] = "val"
) -> dict[str, float]:
    """MSE and MAD on a split by the ONNX file on OpenVINO in float32: torch's values, in half the time."""
    cost = complexity(network)
    with TemporaryDirectory() as temporary, torch.inference_mode():
        onnx_path = export_onnx(network, Path(temporary) / "modnet.onnx", dynamic=True)
        scores = evaluate(OnnxPredictor(onnx_path, PROTOCOL), folder, index, split, PROTOCOL)
    return {"mse": scores.errors["mse"], "mad": scores.errors["mad"], "macs": cost.macs, "parameters": cost.parameters}


if __name__ == "__main__":
    raise SystemExit(main())
