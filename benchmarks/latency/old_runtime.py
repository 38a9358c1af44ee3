r"""Latency of IRs within an old runtime, in turns; `benchmarks.latency --legacy` starts it there.

    PYTHONPATH=.modnet/legacy/openvino-2021.4.2:. .modnet/legacy/python3.9 \
        -m benchmarks.latency.old_runtime 2 50 a.xml b.xml

Threads, rounds, IRs. Prints one JSON object last: the samples of each IR in milliseconds, float32 on the CPU. Python
3.9, through the interface that 2021.4.2 has and 2022.3.2 still has.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from openvino.inference_engine import IECore

from infra.device.measuring.latency import measure_interleaved


def main(threads: str, rounds: str, *xmls: str) -> dict[str, list[float]]:
    """Loads every IR, then times one inference of each in every round."""
    core = IECore()
    core.set_config({"ENFORCE_BF16": "NO", "CPU_THREADS_NUM": threads}, "CPU")
    runs, loaded = {}, []
    for xml in map(Path, xmls):
        network = core.read_network(str(xml), str(xml.with_suffix(".bin")))
        ((name, port),) = network.input_info.items()
        loaded.append(core.load_network(network, "CPU", num_requests=1))  # kept: a request does not keep its network
        request = loaded[-1].requests[0]
        shape = port.input_data.shape
        request.input_blobs[name].buffer[:] = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
        runs[str(xml)] = request.infer
    samples = measure_interleaved(runs, warm_up=3, rounds=int(rounds))
    return {xml: list(row.samples_ms) for xml, row in samples.items()}


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(main(*sys.argv[1:])) + "\n")  # on a line of its own: plugins print, too
