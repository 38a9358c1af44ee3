"""How much faster the pruned and quantised network is, and which layers hold it back.

python -m benchmarks.latency --dataset portraits.zip --base modnet.ckpt [--plan PLAN …] [--samples latency.json]
python -m benchmarks.latency --read latency.json    # the tables of an earlier run

Batch 1, 512×512, everything in turns within one run, so that a busy moment of the machine meets all alike:

* the unpruned network and that of each plan, as `cpu-fp32` and `cpu-int8`, float parts in f32 and in bf16, by the edge
  agent's measuring code, by the clock and then by CPU time of all threads, which hardly grows while other processes
  have the cores;
* with `--legacy` the IRs for the Neural Compute Stick 2 on the CPU of the old runtimes, the networks in turns;
* of the unpruned network and the first plan's: that code against OpenVINO's `benchmark_app`, on the same IRs with the
  same properties; and the time of every node by OpenVINO's profiling, summed by kind and by layer of the network,
  beside the layer's MACs.

Networks have the weights that pruning left, as latency does not depend on them where INT8 puts no layer back to float.

The JSON holds every sample, with the conditions of the machine before and after; ratios and intervals are computed on
reading. `benchmark_app` tells no samples, only the median of each of its runs.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmarks.layer_profile import by_kind, by_layer, profiled
from infra.edge_agent.device import machine_conditions
from infra.edge_agent.latency import measure, measure_interleaved
from infra.edge_agent.runtime import load_ir, runtime_text
from infra.errors import SettingsError
from modnet.data.archives import extract_archive
from modnet.evaluation.intervals import median_ratio_interval
from modnet.export.legacy_runtimes import LegacyRuntime
from modnet.export.onnx_to_openvino import convert_ir
from modnet.export.torch_to_onnx import export_onnx
from modnet.files import write_atomically
from modnet.pruning.complexity import layer_costs
from modnet.pruning.plan import PruningPlan
from modnet.pruning.surgery import apply_plan
from modnet.targets import VARIANTS, Target
from modnet.workloads.matting.checkpoint import load
from modnet.workloads.matting.data.images import read_image
from modnet.workloads.matting.data.indexing import index_dataset
from modnet.workloads.matting.data.preprocessing import prepare
from modnet.workloads.matting.network.modnet import MODNet
from tasks.leaderboard import markdown_table

PLAN = Path(__file__).resolve().parent / "headline.json"
TARGETS: tuple[Target, ...] = ("cpu-fp32", "cpu-int8")
STICK: Target = "ncs2-fp16"
PROJECT = PLAN.parents[1]
UNPRUNED = "unpruned"
REFERENCE = f"{UNPRUNED} cpu-fp32, f32"
COMPARED = "The agent's measuring and OpenVINO's own: medians of runs, and of the ratios of turns"
ON_OLD_RUNTIMES = f"{STICK} on the CPU of old runtimes, f32"
CALIBRATION_IMAGES = 24

Json = dict[str, Any]
Row = dict[str, str]


class Ratio(NamedTuple):
    """A ratio and its percentile bootstrap interval of 95 %."""

    value: float
    low: float
    high: float

    def __format__(self, digits: str) -> str:
        return f"{self.value:{digits}} ({self.low:{digits}}–{self.high:{digits}})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, unless an earlier run is read, and prints the tables."""
    parser = argparse.ArgumentParser(description="Latency of the unpruned and of pruned networks.")
    parser.add_argument("--dataset", type=Path, help="zip of portraits; some of fit calibrate INT8")
    parser.add_argument("--base", type=Path, help="unpruned checkpoint")
    parser.add_argument("--plan", type=Path, nargs="+", default=[PLAN], help=f"of pruning (default: {PLAN.name})")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=50, help="samples of each row (default: 50)")
    parser.add_argument(
        "--app-runs", type=int, default=40, help="turns of agent and benchmark_app (default: 40; 0: none)"
    )
    parser.add_argument("--legacy", type=Path, help="folder of `make legacy-runtimes`: the old ones are measured too")
    parser.add_argument("--folder", type=Path, help="where IRs are written, and taken from when they are there")
    parser.add_argument("--cache", type=Path, default=Path(".modnet/cache/datasets"), help="where the zip is extracted")
    parser.add_argument("--samples", type=Path, default=Path("latency.json"), help="the JSON to write")
    parser.add_argument("--read", type=Path, help="the JSON of an earlier run: nothing is measured")
    options = parser.parse_args(arguments)
    if options.read is None:
        if options.dataset is None or options.base is None:
            parser.error("--dataset and --base are needed to measure, or --read to look at an earlier run")
        if options.legacy is not None and (missing := _missing(options.legacy)):
            parser.error(f"--legacy: {options.legacy} lacks OpenVINO {' and '.join(missing)}: see make legacy-runtimes")
        result = _measured(options)
        write_atomically(options.samples, json.dumps(result, indent=1).encode())
    else:
        result = json.loads(options.read.read_text())
    for title, rows in tables(result).items():
        print(f"\n{title}\n\n{markdown_table(rows)}")
    return 0


def median_of_ratios(numerator: Sequence[float], denominator: Sequence[float]) -> Ratio:
    """Median of the ratios of two series turn by turn, see `median_ratio_interval`; it is written with its interval."""
    interval = median_ratio_interval(numerator, denominator)
    return Ratio(interval.mean, interval.low, interval.high)


def tables(result: Json) -> dict[str, list[Row]]:
    """What the samples say, by title."""
    samples = {name: row["samples_ms"] for name, row in result["rows"].items()}
    cpu = {name: row["cpu_ms"] for name, row in result["rows"].items()}
    latency = [
        {
            "network, target, float parts": name,
            "MB": f"{result['size_bytes'][name.partition(',')[0]] / 1e6:.2f}",
            "median ms": f"{statistics.median(row):.1f}",
            "min ms": f"{min(row):.1f}",
            "times as fast": f"{median_of_ratios(samples[REFERENCE], row):.2f}",
            "CPU ms": f"{statistics.median(cpu[name]):.1f}",
            "times less CPU": f"{median_of_ratios(cpu[REFERENCE], cpu[name]):.2f}",
        }
        for name, row in samples.items()
    ]
    compared = [
        {
            "IR": name,
            "agent ms": f"{statistics.median(turns['agent_ms']):.2f}",
            "benchmark_app ms": f"{statistics.median(turns['benchmark_app_ms']):.2f}",
            "agent / benchmark_app": f"{median_of_ratios(turns['agent_ms'], turns['benchmark_app_ms']):.3f}",
        }
        for name, turns in result["benchmark_app"].items()
    ]
    legacy = [
        {
            "runtime": f"OpenVINO {version}",
            "network": name,
            "median ms": f"{statistics.median(row):.1f}",
            "times as fast": f"{median_of_ratios(networks[UNPRUNED], row):.2f}",
        }
        for version, networks in result["legacy"].items()
        for name, row in networks.items()
    ]
    title = f"Latency: {len(samples[REFERENCE])} rounds, {result['threads']} threads, {result['runtime']}"
    return {
        title: latency,
        COMPARED: compared,
        ON_OLD_RUNTIMES: legacy,
        "Milliseconds by kind of node": by_kind(result["nodes"]),
        "Layers that the pruned network spends most on": by_layer(result["nodes"], result["macs"]),
    }


def _measured(options: argparse.Namespace) -> Json:
    with TemporaryDirectory() as temporary:
        networks = _networks(options)
        irs, sticks = _irs(networks, options, options.folder or Path(temporary))
        closely = list(networks)[:2]
        close_irs = {f"{name} {target}": irs[f"{name} {target}"] for name in closely for target in TARGETS}
        macs = {name: _macs(networks[name]) for name in closely}
        before = machine_conditions()
        runs = {
            f"{name}, {precision}": load_ir(xml, threads=options.threads, precision=precision).run_once
            for precision in ("f32", "bf16")
            for name, xml in irs.items()
        }
        samples = measure_interleaved(runs, warm_up=3, rounds=options.rounds)
        cpu = measure_interleaved(runs, warm_up=1, rounds=options.rounds, clock_ns=time.process_time_ns)
        return {
            "runtime": runtime_text(),
            "threads": options.threads,
            "conditions_before": before,
            "size_bytes": {name: _size_bytes(xml) for name, xml in irs.items()},
            "rows": {
                name: {"warm_up_ms": row.warm_up_ms, "samples_ms": row.samples_ms, "cpu_ms": cpu[name].samples_ms}
                for name, row in samples.items()
            },
            "benchmark_app": {
                name: _beside_app(irs[name], options.threads, options.app_runs)
                for name in (f"{UNPRUNED} cpu-fp32", f"{closely[1]} cpu-int8")
                if options.app_runs
            },
            "legacy": {
                version: _on_old_runtime(LegacyRuntime(options.legacy, version), sticks, options)
                for version in VARIANTS[STICK].legacy_runtimes
                if options.legacy is not None
            },
            "nodes": profiled(close_irs, options.threads, tuple(macs[UNPRUNED])),
            "macs": macs,
            "conditions_after": machine_conditions(),
        }


def _networks(options: argparse.Namespace) -> dict[str, MODNet]:
    """The unpruned network first, then that of each plan by the name of its file."""
    base = load(options.base)
    plans = {path.stem: PruningPlan.from_json(path.read_text(), str(path)) for path in options.plan}
    return {UNPRUNED: base} | {name: apply_plan(base, plan) for name, plan in plans.items()}


def _irs(
    networks: dict[str, MODNet], options: argparse.Namespace, folder: Path
) -> tuple[dict[str, Path], dict[str, Path]]:
    """IRs by network and target, and those for the stick by network."""
    missing = {
        name: network
        for name, network in networks.items()
        if not all((folder / f"{name}-{target}.xml").exists() for target in (STICK, *TARGETS))
    }
    if missing:
        images = extract_archive(options.dataset, options.cache)
        fit = index_dataset(images).split("fit")[:CALIBRATION_IMAGES]
        calibration = [prepare(read_image(images / pair.image), "device-512").pixels for pair in fit]
    for name, network in missing.items():
        onnx_path = export_onnx(network, folder / f"{name}.onnx", size=512)
        convert_ir(onnx_path, folder, targets=(STICK, *TARGETS), calibration=calibration)
    irs = {f"{name} {target}": folder / f"{name}-{target}.xml" for name in networks for target in TARGETS}
    return irs, {name: folder / f"{name}-{STICK}.xml" for name in networks}


def _size_bytes(xml: Path) -> int:
    """Of both files of an IR."""
    return sum(path.stat().st_size for path in (xml, xml.with_suffix(".bin")))


def _macs(network: MODNet) -> dict[str, int]:
    """MACs by layer, those of its norm included."""
    costs: dict[str, int] = defaultdict(int)
    for path, (_, cost) in layer_costs(network).items():
        costs[re.sub(r"\.(conv|norm(\.batch)?)$", "", path)] += cost
    return dict(costs)


def _missing(folder: Path) -> list[str]:
    """Versions of the old runtimes that cannot be started from a folder."""
    return [one for one in VARIANTS[STICK].legacy_runtimes if not LegacyRuntime(folder, one).is_installed]


def _on_old_runtime(
    runtime: LegacyRuntime, irs: dict[str, Path], options: argparse.Namespace
) -> dict[str, list[float]]:
    """Samples in milliseconds by network, taken in turns within the runtime."""
    paths = [str(xml.absolute()) for xml in irs.values()]
    arguments = ["-m", "benchmarks.legacy_latency", str(options.threads), str(options.rounds), *paths]
    samples = runtime.ask("measure latency", arguments, PROJECT)
    return {name: samples[path] for name, path in zip(irs, paths, strict=True)}


def _beside_app(xml: Path, threads: int, runs: int) -> Json:
    """The agent's median and benchmark_app's of `runs` runs each, who is first alternating; the agent's samples too."""
    model = load_ir(xml, threads=threads, precision="f32")
    turns: Json = {"agent_ms": [], "benchmark_app_ms": [], "agent_samples_ms": []}

    def agent() -> None:
        samples = measure(model.run_once, warm_up=3, repeats=10, min_seconds=1).samples_ms
        turns["agent_samples_ms"].append(samples)
        turns["agent_ms"].append(statistics.median(samples))

    def app() -> None:
        turns["benchmark_app_ms"].append(_benchmark_app(xml, threads, len(turns["agent_samples_ms"][0])))

    agent()  # says how many inferences are a second of them
    turns["agent_ms"].clear()
    for turn in range(runs):
        for run in (agent, app) if turn % 2 else (app, agent):
            run()
    return turns


def _benchmark_app(xml: Path, threads: int, repeats: int) -> float:
    """The median latency in ms that benchmark_app reports, with the properties that the agent sets."""
    program = Path(sys.executable).with_name("benchmark_app")
    with TemporaryDirectory() as folder:
        properties = {"CPU": {"INFERENCE_NUM_THREADS": str(threads), "INFERENCE_PRECISION_HINT": "f32"}}
        (Path(folder) / "properties.json").write_text(json.dumps(properties))
        command = [str(program), "-m", str(xml), "-d", "CPU", "-hint", "latency", "-api", "sync"]
        command += ["-load_config", f"{folder}/properties.json", "-niter", str(repeats)]
        command += ["-report_type", "no_counters", "-json_stats", "-report_folder", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        report = Path(folder) / "benchmark_report.json"
        if done.returncode or not report.exists():
            raise SettingsError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout[-500:]}")
        results = json.loads(report.read_text())["execution_results"]
    return float(results["latency (ms)"])


if __name__ == "__main__":
    raise SystemExit(main())
