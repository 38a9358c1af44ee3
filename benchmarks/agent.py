"""What does the agent cost beside a bare loop over the same compiled network: memory, and milliseconds?

    python -m benchmarks.agent [--rounds 10]

Starts a SeaweedFS and an ingest of its own in a temporary folder, and one agent of one device. In each round the agent
measures a new release of a shipped network, and a process that is nothing but OpenVINO and a loop measures the same
files; who is first alternates. Exit code 1 when the agent and its child take 100 MB more than the loop (proportional
set sizes, the most of all samples), or when the median ratio of their p50 is more than 2 % off.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.services import Services, environ_of, services
from infra.device.documents.file_digest import FileDigest
from infra.device.documents.latency_report import MEASURED, LatencyReport
from infra.device.documents.latency_summary import percentile
from infra.device.documents.manifest import Manifest, TargetFiles
from infra.device.reports import read_reports
from infra.local_stack.ports import LOOPBACK
from infra.local_stack.services import BUCKET
from infra.publishing.keys import development_keys
from infra.publishing.releases import promote, publish_release
from infra.publishing.repository import Publisher
from modnet.workloads.matting.workload import MATTING

DEVICE, TARGET = "bench", "cpu-fp16"
NETWORK = Path(sys.modules[MATTING.network.__module__].__file__ or "").parents[1] / "weights" / "fast-cpu-fp16"
REPEATS, WARM_UP = 200, 20
MOST_MB, MOST_OFF = 100.0, 0.02
WITHIN_S = 300.0
LOOP = """
import sys, time
import numpy as np, openvino as ov
network, repeats, warm_up = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
core = ov.Core()
settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
request = core.compile_model(network, "CPU", settings).create_infer_request()
data = request.get_input_tensor().data
data[:] = np.random.default_rng(0).uniform(-1.0, 1.0, data.shape)
samples_ms = []
for _ in range(warm_up + repeats):
    start_ns = time.perf_counter_ns()
    request.infer()
    samples_ms.append((time.perf_counter_ns() - start_ns) / 1e6)
print(*samples_ms[warm_up:])
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="What the agent costs beside a bare loop.")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as text, services(Path(text), [DEVICE]) as running:
        bench = _Bench(running, Path(text))
        with bench.agent() as agent:
            found = [bench.round(number, agent) for number in range(options.rounds)]
    print("| round | agent p50, ms | loop p50, ms | ratio | agent and child, MB | loop, MB |")
    print("|---:|---:|---:|---:|---:|---:|")
    for number, ((agent_ms, agent_mb), (loop_ms, loop_mb)) in enumerate(found, 1):
        ratio = agent_ms / loop_ms
        print(f"| {number} | {agent_ms:.3f} | {loop_ms:.3f} | {ratio:.3f} | {agent_mb:.0f} | {loop_mb:.0f} |")
    ratio = median(agent[0] / loop[0] for agent, loop in found)
    more_mb = max(agent[1] for agent, _ in found) - max(loop[1] for _, loop in found)
    print(f"\nmedian ratio {ratio:.3f}, wanted 1 ± {MOST_OFF}; {more_mb:.0f} MB more, wanted at most {MOST_MB:.0f}")
    return 0 if more_mb <= MOST_MB and abs(ratio - 1) <= MOST_OFF else 1


class _Bench:
    def __init__(self, running: Services, folder: Path) -> None:
        self._running, self._folder = running, folder
        self._publisher = Publisher(running.store, development_keys(folder / "keys"))
        self._files = {path.name: path for path in (NETWORK.with_suffix(".xml"), NETWORK.with_suffix(".bin"))}
        for name, path in self._files.items():
            running.store.upload_file(f"exports/{name}", path)

    def round(self, number: int, agent: subprocess.Popen[bytes]) -> list[tuple[float, float]]:
        """p50 in milliseconds and the most megabytes: of the agent with its child, then of the loop."""
        timings: list[Callable[[], tuple[float, float]]] = [lambda: self._of_agent(number, agent.pid), self._of_loop]
        if number % 2:
            return [timing() for timing in reversed(timings)][::-1]
        return [timing() for timing in timings]

    @contextmanager
    def agent(self) -> Iterator[subprocess.Popen[bytes]]:
        """Runs until the block ends."""
        config = self._folder / "agent.toml"
        config.write_text(
            f'device = "{DEVICE}"\nstore = "s3://{BUCKET}"\nroot = "keys/root.json"\nwork_folder = "work"\n'
            f'ingest = "http://{LOOPBACK}:{self._running.ports["ingest"]}"\ntargets = ["{TARGET}"]\ninterval_s = 0.5\n'
            f"warm_up = {WARM_UP}\nrepeats = {REPEATS}\nthreads = 1\n"
        )
        device = self._running.devices[DEVICE]
        environ = environ_of(device.key_id, device.secret, self._running.ports["s3"])
        command = [sys.executable, "-m", "infra.device", "run", "--config", str(config)]
        with open(self._folder / "log", "wb") as log, subprocess.Popen(command, env=environ, stderr=log) as process:
            try:
                yield process
            finally:
                process.terminate()

    def _of_agent(self, number: int, pid: int) -> tuple[float, float]:
        digests = {name: FileDigest.of(path) for name, path in self._files.items()}
        form = TargetFiles(f"{NETWORK.name}.xml", f"{NETWORK.name}.bin", "image", _input_shape(), "fp16")
        manifest = Manifest("matting", f"round-{number}", {TARGET: form}, digests, {}, {})
        release_id = publish_release(self._publisher, manifest, {name: f"exports/{name}" for name in digests})
        promote(self._publisher, TARGET, release_id)
        most_mb, ends_at = 0.0, time.monotonic() + WITHIN_S
        while not (reports := read_reports(self._running.store, release_id)[0]):
            if time.monotonic() > ends_at:
                raise TimeoutError(f"no report of {release_id}; the agent says: {(self._folder / 'log').read_text()}")
            for _ in range(20):
                most_mb = max(most_mb, sum(map(_pss_mb, [pid, *_children(pid)])))
                time.sleep(0.1)
        return _p50(reports[0]), most_mb

    def _of_loop(self) -> tuple[float, float]:
        command = [sys.executable, "-c", LOOP, str(NETWORK.with_suffix(".xml")), str(REPEATS), str(WARM_UP)]
        most_mb = 0.0
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            while process.poll() is None:
                most_mb = max(most_mb, _pss_mb(process.pid))
                time.sleep(0.1)
            said = process.communicate()[0]
        return percentile([float(one) for one in said.split()], 0.5), most_mb


def _p50(report: LatencyReport) -> float:
    if report.status != MEASURED:
        raise ValueError(f"the agent reports {report.status}: {report.reason}")
    return percentile(report.samples_ms, 0.5)


def _input_shape() -> tuple[int, ...]:
    import openvino

    return tuple(openvino.Core().read_model(NETWORK.with_suffix(".xml")).inputs[0].shape)


def _children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _pss_mb(pid: int) -> float:
    """Proportional set size in 10^6 bytes: a page that two processes share counts half in each; 0 for who has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    sys.exit(main())
