"""Sixty candidates of a search's space, drawn by chance and trained to the end: `benchmarks.search` replays on them.

    python -m benchmarks.making.search_curves --dataset portraits.zip --base modnet.ckpt --out curves [--part 1/2]

Each is pruned from the base, timed in turns with it (FP32, one thread), and trained for nine epochs of 192 px crops
with a fixed backbone; *tune* is scored after each. *val* is not looked at. Two processes share the work by `--part 1/2`
and `--part 2/2`. When one is killed, the same command goes on. What is made lies among
the results in `search/curves/`, a file for each candidate.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.inputs import RESULTS, extracted, input_parser, require_same
from modnet.configs import ExportConfig
from modnet.configs.search import Range, SearchSpace
from modnet.configs.shape import shape_in
from modnet.data.download import sha256_of_file
from modnet.errors import PruningError
from modnet.export.accuracy_control import calibration_inputs
from modnet.export.export import export_network
from modnet.files import write_atomically
from modnet.pruning.complexity import complexity
from modnet.pruning.surgery import apply_plan
from modnet.targets import Shape
from modnet.training.state import TrainingState
from modnet.workloads import settings_named
from modnet.workloads.matting.checkpoint import load
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.portraits import Portraits
from modnet.workloads.matting.settings import MattingRetraining
from modnet.workloads.matting.workload import MATTING
from tasks.host_latency import interleaved_latencies
from tasks.pruning_evidence import plan_with_evidence
from tasks.remote.exports import export_options
from tasks.search_proposals import propose, pruning_of
from tasks.training_run import run_training, tune_error

CURVES = RESULTS / "search" / "curves"
COUNT = 60
SPACE = SearchSpace(gmacs=Range(least=1.5, most=12), input_shapes=("512x352", "480x320", "384x256"))
TRAINING = MattingRetraining(
    epochs=9, batch_size=8, image_size=192, freeze_backbone=True, precision="fp32", validation_images=64
)
BASE_SHAPE = (512, 352)


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes what is missing."""
    parser = input_parser("Trains candidates of a search's space to the end.")
    parser.add_argument("--out", type=Path, required=True, help="folder for states of training")
    parser.add_argument("--part", default="1/1", help="which share of the candidates: 1/2 or 2/2")
    options = parser.parse_args(arguments)
    found = re.fullmatch(r"([1-9]\d?)/([1-9]\d?)", options.part)
    if found is None or int(found[1]) > int(found[2]):
        parser.error(f"--part: got {options.part!r}, wanted 1/2 or 2/2")
    torch.set_num_threads(1)
    for folder in (options.out, CURVES):
        folder.mkdir(parents=True, exist_ok=True)
    data = Portraits(*extracted(options.dataset, options.cache))
    base = load(options.base).eval()
    question = {"data": sha256_of_file(options.dataset), "base": sha256_of_file(options.base)}
    error = tune_error(base, data, TRAINING, "cpu", [BASE_SHAPE])
    for number in range(int(found[1]) - 1, COUNT, int(found[2])):
        make(number, question | {"base_error": error}, base, data, options.out)
    return 0


def make(number: int, question: dict[str, Any], base: MODNet, data: Portraits, out: Path) -> None:
    """Prunes, times and trains one candidate, unless it is there.

    Raises:
        ConfigError: it is there, made of another question.
    """
    parameters = dict(propose(SPACE, [], 0, number))  # with nothing known, it is drawn by chance
    config = TRAINING.model_copy(update={"learning_rate": parameters["learning_rate"]})
    question = question | {"number": number, "parameters": parameters, "training": config.model_dump(mode="json")}
    record, state = CURVES / f"{number:02d}.json", out / f"{number:02d}.training-state"
    if record.exists():
        require_same(question, json.loads(record.read_text()), record, "--out")
        return
    pruning = pruning_of(parameters, settings_named(None).batch_only)
    try:
        network = apply_plan(base, plan_with_evidence(base, pruning, MATTING, lambda: data, threads=1))
    except PruningError as problem:
        write_atomically(record, json.dumps(question | {"refused": str(problem)}, indent=1).encode())
        return
    shape = shape_in(parameters["input_shape"])
    latency = _latency_ratio(network, shape, base, data)

    def save(reached: TrainingState) -> None:
        write_atomically(state, reached.to_bytes())

    saved = state.read_bytes() if state.exists() else None
    report = run_training(network, MATTING, data, config, seed=0, device="cpu", save=save, saved=saved, shapes=[shape])
    told = {
        "macs": complexity(network).macs,
        "latency_ratio": latency,
        "errors": [one.tune_error for one in report.history],
        "seconds": round(report.seconds, 1),
        "torch": str(torch.__version__),
    }
    write_atomically(record, json.dumps(question | told, indent=1).encode())
    state.unlink(missing_ok=True)


def _latency_ratio(network: MODNet, shape: Shape, base: MODNet, data: Portraits) -> float:
    """The median of the rounds' ratios, FP32 on one thread; it does not depend on what the network has learned."""
    with TemporaryDirectory() as temporary:
        irs = {}
        for name, one, size in (("base", base, BASE_SHAPE), ("pruned", network, shape)):
            config = ExportConfig(input_shape=f"{size[0]}x{size[1]}", targets=("cpu-fp32",), calibration_images=2)
            folder = Path(temporary, name)
            inputs = calibration_inputs(data, config.shape, config)
            export_network(one, folder, targets=config.targets, **export_options(config, inputs))
            irs[name] = folder / "modnet-cpu-fp32.xml"
        samples = interleaved_latencies(irs, 1)
    return statistics.median(one / other for one, other in zip(samples["pruned"], samples["base"], strict=True))


if __name__ == "__main__":
    raise SystemExit(main())
