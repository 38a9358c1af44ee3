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
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from benchmarks.fleet import environ_of, measured_report, start_store
from infra.device.documents.latency_report import LatencyReport
from infra.device.stores.object_store import ObjectStore, open_store
from infra.fleet.collecting import collect
from infra.ingest.devices import IDENTITIES
from infra.local_stack.ports import choose_ports
from infra.local_stack.services import BUCKET, STORE_LISTENERS
from infra.local_stack.wait_for_store import wait_for_store

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
    key_secrets = {name: secrets.token_urlsafe(30) for name in IDENTITIES}
    ports = choose_ports(dict.fromkeys(STORE_LISTENERS, 0), {})
    process = start_store(folder, ports, key_secrets, [])
    try:
        environ = environ_of("pipeline", key_secrets, ports)
        os.environ.update(environ)
        store = open_store(f"s3://{BUCKET}")
        wait_for_store(store, 60.0)
        _fill(store, reports_count)
        first, following = (_look(environ) for _ in range(2))
    finally:
        process.kill()
        process.wait()
    refused = 2 * HOSTILE
    print(f"{reports_count} reports of {DEVICES} devices, and {refused} objects of up to 8 MiB that are none\n")
    print("| look | new | put aside | seconds | peak memory, MB |\n|---|---:|---:|---:|---:|")
    for name, one in (("first", first), ("next", following)):
        print(f"| {name} | {one['new']} | {one['moved']} | {one['took_s']:.1f} | {one['peak_mb']:.0f} |")
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
                yield measured_report(f"device-{number:03d}", release_id, target, chance)


def _look(environ: dict[str, str]) -> dict[str, float]:
    """One look in a process of its own."""
    answer = subprocess.run([sys.executable, "-c", _LOOK], env=environ, check=True, stdout=subprocess.PIPE)
    return dict(json.loads(answer.stdout))


def look() -> None:
    """Looks, and prints what came of it as JSON."""
    store = open_store(f"s3://{BUCKET}")
    began = time.monotonic()
    found = collect(store)
    took_s = time.monotonic() - began
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(json.dumps({"new": found.new_count, "moved": len(found.moved), "took_s": took_s, "peak_mb": peak_mb}))


if __name__ == "__main__":
    sys.exit(main())
