"""Takes the samples of `benchmarks.latency`."""

from __future__ import annotations

import json
import math
import re
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.inputs import PROJECT, UNPRUNED, Json, extracted, networks
from benchmarks.latency.layers import profiled
from benchmarks.latency.tables import STICK
from infra.device.errors import SettingsError
from infra.device.measuring.latency import measure, measure_interleaved
from infra.device.measuring.machine import machine_conditions
from infra.device.measuring.runtime import load_ir, runtime_text
from modnet.configs.shape import shown
from modnet.data.images import read_image
from modnet.export.legacy_runtimes import LegacyRuntime
from modnet.export.onnx_to_openvino import convert_ir
from modnet.export.torch_to_onnx import export_onnx
from modnet.pruning.complexity import layer_costs
from modnet.targets import VARIANTS, Shape, Target
from modnet.workloads.matting.data.preprocessing import prepare
from modnet.workloads.matting.data.protocols import letterbox
from modnet.workloads.matting.network.modnet import MODNet

TARGETS: tuple[Target, ...] = ("cpu-fp32", "cpu-int8")
CALIBRATION_IMAGES = 24
SQUARE: Shape = (512, 512)


def measured(
    dataset: Path,
    base: Path,
    plans: Sequence[Path],
    shape: Shape = SQUARE,
    *,
    cache: Path,
    folder: Path | None,
    threads: int,
    rounds: int,
    app_runs: int,
    legacy: Path | None,
) -> Json:
    """Every sample, with the conditions of the machine before and after.

    Args:
        dataset: zip of portraits; some of fit calibrate INT8.
        base: unpruned checkpoint.
        plans: of pruning; the first one's network is looked at closely.
        shape: height and width that pruned networks read; the unpruned one reads `SQUARE`.
        cache: where the zip is extracted.
        folder: where IRs are written, and taken from when they are there; None: a temporary one.
        threads: of inference.
        rounds: samples of each network.
        app_runs: turns of the agent and benchmark_app; 0: none.
        legacy: folder of the old runtimes; None: they are not measured.
    """
    with TemporaryDirectory() as temporary:
        compared = {_named(name, shape): network for name, network in networks(base, plans).items()}
        shapes = {name: SQUARE if name == UNPRUNED else shape for name in compared}
        irs, sticks = _irs(compared, shapes, dataset, cache, folder or Path(temporary))
        closely = list(compared)[:2]
        close_irs = {f"{name} {target}": irs[f"{name} {target}"] for name in closely for target in TARGETS}
        macs = {name: _macs(compared[name], shapes[name]) for name in closely}
        before = machine_conditions()
        runs = {
            f"{name}, {precision}": load_ir(xml, threads=threads, precision=precision).run_once
            for precision in ("f32", "bf16")
            for name, xml in irs.items()
        }
        samples = measure_interleaved(runs, warm_up=3, rounds=rounds)
        cpu = measure_interleaved(runs, warm_up=1, rounds=rounds, clock_ns=time.process_time_ns)
        return {
            "runtime": runtime_text(),
            "threads": threads,
            "conditions_before": before,
            "size_bytes": {name: _size_bytes(xml) for name, xml in irs.items()},
            "rows": {
                name: {"warm_up_ms": row.warm_up_ms, "samples_ms": row.samples_ms, "cpu_ms": cpu[name].samples_ms}
                for name, row in samples.items()
            },
            "benchmark_app": {
                name: _beside_app(irs[name], threads, app_runs)
                for name in (f"{UNPRUNED} cpu-fp32", f"{closely[1]} cpu-int8")
                if app_runs
            },
            "legacy": {
                version: _on_old_runtime(LegacyRuntime(legacy, version), sticks, threads, rounds)
                for version in VARIANTS[STICK].legacy_runtimes
                if legacy is not None
            },
            "nodes": profiled(close_irs, threads, tuple(macs[UNPRUNED])),
            "macs": macs,
            "conditions_after": machine_conditions(),
        }


def _irs(
    compared: Mapping[str, MODNet], shapes: Mapping[str, Shape], dataset: Path, cache: Path, folder: Path
) -> tuple[dict[str, Path], dict[str, Path]]:
    """IRs by network and target, and those for the stick by network."""
    missing = {
        name: network
        for name, network in compared.items()
        if not all((folder / f"{name}-{target}.xml").exists() for target in (STICK, *TARGETS))
    }
    if missing:
        images, index = extracted(dataset, cache)
        fit = index.split("fit")[:CALIBRATION_IMAGES]
    for name, network in missing.items():
        read = letterbox(shapes[name])
        calibration = [prepare(read_image(images / pair.image), read).pixels for pair in fit]
        onnx_path = export_onnx(network, folder / f"{name}.onnx", size=shapes[name])
        convert_ir(onnx_path, folder, targets=(STICK, *TARGETS), calibration=calibration, size=shapes[name])
    irs = {f"{name} {target}": folder / f"{name}-{target}.xml" for name in compared for target in TARGETS}
    return irs, {name: folder / f"{name}-{STICK}.xml" for name in compared}


def _size_bytes(xml: Path) -> int:
    """Of both files of an IR."""
    return sum(path.stat().st_size for path in (xml, xml.with_suffix(".bin")))


def _named(name: str, shape: Shape) -> str:
    """`headline@480x320`; the name alone where the input is square, and of the unpruned network."""
    return name if name == UNPRUNED or shape == SQUARE else f"{name}@{shown(shape)}"


def _macs(network: MODNet, shape: Shape) -> dict[str, int]:
    """MACs by layer, those of its norm included."""
    costs: dict[str, int] = defaultdict(int)
    for path, (_, cost) in layer_costs(network).items():
        costs[re.sub(r"\.(conv|norm(\.batch)?)$", "", path)] += cost * math.prod(shape) // math.prod(SQUARE)
    return dict(costs)


def missing_runtimes(folder: Path) -> list[str]:
    """Versions of the old runtimes that cannot be started from a folder."""
    return [one for one in VARIANTS[STICK].legacy_runtimes if not LegacyRuntime(folder, one).is_installed]


def _on_old_runtime(
    runtime: LegacyRuntime, irs: Mapping[str, Path], threads: int, rounds: int
) -> dict[str, list[float]]:
    """Samples in milliseconds by network, taken in turns within the runtime."""
    paths = [str(xml.absolute()) for xml in irs.values()]
    arguments = ["-m", "benchmarks.latency.old_runtime", str(threads), str(rounds), *paths]
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
