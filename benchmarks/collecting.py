"""What collecting costs: many reports at the first look, none at the next.

    python -m benchmarks.collecting

Starts a SeaweedFS of its own in a temporary folder, fills it with reports of many devices and some objects that are
none, and looks twice, each time in a process of its own. Exit code 1 when a report is missing, or a look took longer or
more memory than it may.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from benchmarks.services import drawn_report, services
from infra.device.documents.latency_report import LatencyReport
from infra.device.stores.object_store import ObjectStore, open_store
from infra.fleet.collecting import collect

MAX_FIRST_S, MAX_NEXT_S, MAX_MEMORY_MB = 60.0, 2.0, 500.0
DEVICES, TARGETS = 100, ("cpu-fp32", "cpu-int8")
HOSTILE = 8  # of each kind
_LOOK = "import benchmarks.collecting; benchmarks.collecting.look()"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reports", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return _measure(Path(folder), options.reports)


def _measure(folder: Path, reports_count: int) -> int:
    with services(folder) as run:
        _fill(run.store, reports_count)
        first, following = (_look() for _ in range(2))
    refused = 2 * HOSTILE
    print(f"{reports_count} reports of {DEVICES} devices, and {refused} objects of up to 8 MiB that are none\n")
    print("| look | new | put aside | seconds | of them CPU | peak memory, MB |\n|---|---:|---:|---:|---:|---:|")
    for name, one in (("first", first), ("next", following)):
        seconds = f"{one['took_s']:.1f} | {one['cpu_s']:.1f}"
        print(f"| {name} | {one['new']} | {one['moved']} | {seconds} | {one['peak_mb']:.0f} |")
    is_right = (first["new"], first["moved"], following["new"], following["moved"]) == (reports_count, refused, 0, 0)
    print(f"\neach report in one row, the rest put aside, nothing twice: {'yes' if is_right else 'NO'}")
    is_fast = first["took_s"] < MAX_FIRST_S and following["took_s"] < MAX_NEXT_S
    return 0 if is_right and is_fast and first["peak_mb"] < MAX_MEMORY_MB else 1


def _fill(store: ObjectStore, reports_count: int) -> None:
    bombs = (b"[" * LatencyReport.max_bytes, b"[" + b"[]," * (LatencyReport.max_bytes // 3 - 2) + b"[]]")
    with ThreadPoolExecutor(8) as pool:
        written = [pool.submit(store.put, one.key(), one.to_json()) for one in islice(_reports(), reports_count)]
        for number in range(HOSTILE):
            for kind, bomb in enumerate(bombs):
                key = f"reports/device-{number:03d}/0123456789ab/bomb-20261129T{kind:06d}.000000Z.json"
                written.append(pool.submit(store.put, key, bomb))
        for one in written:
            one.result()


def _reports() -> Iterator[LatencyReport]:
    chance = random.Random(0)
    while True:
        release_id = f"{chance.getrandbits(48):012x}"
        for number in range(DEVICES):
            for target in TARGETS:
                yield drawn_report(f"device-{number:03d}", release_id, target, chance)


def _look() -> dict[str, float]:
    """One look in a process of its own."""
    answer = subprocess.run([sys.executable, "-c", _LOOK], check=True, stdout=subprocess.PIPE)
    return dict(json.loads(answer.stdout))


def look() -> None:
    """Looks, and prints what came of it as JSON."""
    store = open_store(os.environ["MODNET_STORE"])
    began, cpu_before = time.monotonic(), time.process_time()
    found = collect(store)
    figures = {
        "new": found.new_count,
        "moved": len(found.moved),
        "took_s": time.monotonic() - began,
        "cpu_s": time.process_time() - cpu_before,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    sys.exit(main())
