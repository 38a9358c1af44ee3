"""What a fleet of devices asks of the ingest: reports of many devices in a minute, some of them wrong.

    python -m benchmarks.ingest

Starts a SeaweedFS and an ingest of its own in a temporary folder, and lets every device send its reports evenly over
the time. One report in ten is wrong: malformed, too large, in another device's name, or one that was sent before. Then
every device sends one body at once that takes as much memory as JSON can. Exit code 1 when anything else is stored than
each valid report once, or the ingest has taken more than MAX_MEMORY_MB.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.services import drawn_report, memory_mb, services
from infra.device.documents.latency_report import MAX_SENT_BYTES
from infra.device.stores.object_store import ObjectStore
from infra.device.stores.signature import authorization, now
from infra.ingest.devices import Device
from infra.local_stack.ports import LOOPBACK

MAX_MEMORY_MB = 150
WRONG = ("malformed", "too large", "another's name", "sent before")
WRONG_SHARE = 0.1


@dataclass(frozen=True)
class Sent:
    """One request: what it was, the ingest's answer, and the seconds until it came."""

    kind: str
    answer: str
    took_s: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--reports", type=int, default=1000, help="of all devices")
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return _measure(Path(folder), options.devices, options.reports, options.seconds)


def _measure(folder: Path, device_count: int, report_count: int, seconds: float) -> int:
    with services(folder, [f"device-{number:03d}" for number in range(device_count)]) as run:
        devices, pid = list(run.devices.values()), run.ingest_pid
        before_mb = memory_mb(pid, "VmRSS")
        stored, sent, took_s = _send_all(run.ports["ingest"], devices, report_count, seconds)
        after_mb = memory_mb(pid, "VmHWM")
        hostile = _send_hostile(run.ports["ingest"], devices)
        peak_mb = memory_mb(pid, "VmHWM")
        is_right = _holds(run.store, stored)
    _print_table(sent)
    milliseconds = sorted(1000 * one.took_s for one in sent)
    p50, p99 = (milliseconds[int(share * (len(milliseconds) - 1))] for share in (0.5, 0.99))
    print(f"\n{len(sent)} requests of {device_count} devices in {took_s:.0f} s, p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    print(f"{device_count} bodies of {MAX_SENT_BYTES} bytes at once, no reports: {dict(Counter(hostile))}")
    print(f"each valid report stored once, nothing else: {'yes' if is_right else 'NO'}")
    print(
        f"ingest's memory: {before_mb:.0f} MB at its start, {after_mb:.0f} MB at most, {peak_mb:.0f} MB with the bodies"
    )
    return 0 if is_right and peak_mb < MAX_MEMORY_MB else 1


def _send_all(
    port: int, devices: list[Device], report_count: int, seconds: float
) -> tuple[dict[str, bytes], list[Sent], float]:
    """What must be stored, what was answered, and the seconds that it took; each device sends one after the other."""
    chance, valid = random.Random(0), {}
    wrong_count = round(WRONG_SHARE * report_count)
    kinds = [WRONG[number % len(WRONG)] for number in range(wrong_count)] + ["valid"] * (report_count - wrong_count)
    chance.shuffle(kinds)
    plan: list[list[tuple[float, str, str, bytes]]] = [[] for _ in devices]
    for number, kind in enumerate(kinds):
        of_device = plan[number % len(devices)]
        device, other = (devices[(number + step) % len(devices)] for step in (0, 1))
        before = [one for one in of_device if one[1] == "valid"]
        if kind == "sent before" and not before:
            kind = "valid"
        sender = other if kind == "another's name" else device
        report = drawn_report(sender.name, f"{chance.getrandbits(48):012x}", "cpu-int8", chance)
        key, body = report.key(), report.to_json()
        if kind == "valid":
            valid[key] = body
        elif kind == "sent before":
            _, _, key, body = before[-1]
        elif kind == "malformed":
            body = body[: len(body) // 2]
        elif kind == "too large":
            body = bytes(MAX_SENT_BYTES + 1)
        of_device.append((seconds * number / report_count, kind, key, body))
    began = time.monotonic()

    def of_one(device: Device, requests: list[tuple[float, str, str, bytes]]) -> list[Sent]:
        sent = []
        for at_s, kind, key, body in requests:
            time.sleep(max(0.0, began + at_s - time.monotonic()))
            asked = time.monotonic()
            sent.append(Sent(kind, put(port, device, key, body), time.monotonic() - asked))
        return sent

    with ThreadPoolExecutor(len(devices)) as pool:
        sent = [one for of_device in pool.map(of_one, devices, plan) for one in of_device]
    return valid, sent, time.monotonic() - began


def _send_hostile(port: int, devices: list[Device]) -> list[str]:
    """The answers to one body of every device, all at once; each list within costs Python twenty times its text."""
    body = b"[" + b"[]," * (MAX_SENT_BYTES // 3 - 2) + b"[]]"
    with ThreadPoolExecutor(len(devices)) as pool:
        key = "reports/{}/0123456789ab/x.json".format
        return list(pool.map(lambda device: put(port, device, key(device.name), body), devices))


def put(port: int, device: Device, key: str, body: bytes) -> str:
    """One signed request, and its status and code."""
    host, signed_at, sha256 = f"{LOOPBACK}:{port}", now(), hashlib.sha256(body).hexdigest()
    signature = authorization(
        "PUT",
        f"/{key}",
        host=host,
        signed_at=signed_at,
        body_sha256=sha256,
        key_id=device.key_id,
        secret=device.secret,
    )
    headers = {"Authorization": signature, "X-Amz-Date": signed_at, "X-Amz-Content-SHA256": sha256}
    connection = http.client.HTTPConnection(host, timeout=120)
    try:
        connection.request("PUT", f"/{key}", body, headers)
        answer = connection.getresponse()
        content = json.loads(answer.read())
        return f"{answer.status} {content.get('error', 'stored')}"
    except ConnectionError:  # it does not read what is too large
        return "closed"
    finally:
        connection.close()


def _holds(store: ObjectStore, wanted: Mapping[str, bytes]) -> bool:
    """The store has these reports and no others."""
    return store.list("reports/") == sorted(wanted) and all(store.get(key) == body for key, body in wanted.items())


def _print_table(sent: list[Sent]) -> None:
    print("| report | answer | number |\n|---|---|---:|")
    for (kind, answer), number in sorted(Counter((one.kind, one.answer) for one in sent).items()):
        print(f"| {kind} | {answer} | {number} |")


if __name__ == "__main__":
    sys.exit(main())
