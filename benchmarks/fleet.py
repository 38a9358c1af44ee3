"""What a fleet of devices asks of the ingest: reports of many devices in a minute, some of them wrong.

    python -m benchmarks.fleet

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
import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from infra.device.documents.checks import utc_now
from infra.device.documents.latency_report import MAX_SENT_BYTES, LatencyReport
from infra.device.documents.latency_summary import intervals, summarise
from infra.device.stores.object_store import ObjectStore, open_store
from infra.device.stores.signature import authorization, now
from infra.ingest.devices import IDENTITIES, Device, DeviceRegistry
from infra.local_stack.ports import LOOPBACK, choose_ports, listens
from infra.local_stack.services import BUCKET, STORE_LISTENERS, ingest_command, store_command
from infra.local_stack.store_identities import store_identities
from infra.local_stack.store_security import write_store_security
from infra.local_stack.wait_for_store import wait_for_store

MAX_MEMORY_MB = 150
WRONG = ("malformed", "too large", "another's name", "sent before")
WRONG_SHARE = 0.1
SAMPLES = 50  # of a report, as the agent measures by default


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
    registry = DeviceRegistry(folder / "devices.json")
    devices = [registry.add(f"device-{number:03d}") for number in range(device_count)]
    key_secrets = {name: secrets.token_urlsafe(30) for name in IDENTITIES}
    ports = choose_ports(dict.fromkeys([*STORE_LISTENERS, "ingest"], 0), {})
    processes = [start_store(folder, {name: ports[name] for name in STORE_LISTENERS}, key_secrets, devices)]
    try:
        environ = environ_of("ingest", key_secrets, ports)
        os.environ.update(environ_of("pipeline", key_secrets, ports))
        store = open_store(f"s3://{BUCKET}")
        wait_for_store(store, 60.0)
        command = ingest_command(ports["ingest"], folder / "devices.json")
        with open(folder / "ingest.log", "wb") as log:
            processes.append(subprocess.Popen(command, env=environ, stderr=log))
        while not listens(ports["ingest"]):
            time.sleep(0.1)
        before_mb = _memory_mb(processes[-1].pid, "VmRSS")
        stored, sent, took_s = _send_all(ports["ingest"], devices, report_count, seconds)
        after_mb = _memory_mb(processes[-1].pid, "VmHWM")
        hostile = _send_hostile(ports["ingest"], devices)
        peak_mb = _memory_mb(processes[-1].pid, "VmHWM")
        is_right = _holds(store, stored)
    finally:
        for process in processes:
            process.kill()
            process.wait()
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
        report = _report(other if kind == "another's name" else device, chance)
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
            sent.append(Sent(kind, _put(port, device, key, body), time.monotonic() - asked))
        return sent

    with ThreadPoolExecutor(len(devices)) as pool:
        sent = [one for of_device in pool.map(of_one, devices, plan) for one in of_device]
    return valid, sent, time.monotonic() - began


def _send_hostile(port: int, devices: list[Device]) -> list[str]:
    """The answers to one body of every device, all at once; each list within costs Python twenty times its text."""
    body = b"[" + b"[]," * (MAX_SENT_BYTES // 3 - 2) + b"[]]"
    with ThreadPoolExecutor(len(devices)) as pool:
        key = "reports/{}/0123456789ab/x.json".format
        return list(pool.map(lambda device: _put(port, device, key(device.name), body), devices))


def _put(port: int, device: Device, key: str, body: bytes) -> str:
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


def _report(device: Device, chance: random.Random) -> LatencyReport:
    samples = tuple(chance.uniform(20.0, 30.0) for _ in range(SAMPLES))
    return LatencyReport(
        release_id=f"{chance.getrandbits(48):012x}",
        target="cpu-int8",
        device=device.name,
        runtime="openvino 2026.4.1",
        status="measured",
        started_at=utc_now(),
        conditions={"cpu_model_text": "Example", "logical_cores_count": 4},
        precision="f32",
        input_shape=(1, 3, 512, 512),
        load_ms=100.0,
        warm_up_ms=samples[:5],
        samples_ms=samples,
        summary=summarise(samples),
        intervals_ms=intervals(samples),
    )


def _holds(store: ObjectStore, wanted: Mapping[str, bytes]) -> bool:
    """The store has these reports and no others."""
    return store.list("reports/") == sorted(wanted) and all(store.get(key) == body for key, body in wanted.items())


def start_store(
    folder: Path, ports: Mapping[str, int], key_secrets: Mapping[str, str], devices: list[Device]
) -> subprocess.Popen[bytes]:
    """A SeaweedFS as `make up` starts it."""
    identities, data = folder / "identities.json", folder / "data"
    identities.write_text(json.dumps(store_identities(key_secrets, devices)))
    data.mkdir()
    write_store_security(folder / "security")
    command = store_command(ports, data=data, identities=identities, security=folder / "security", log_folder=folder)
    with open(folder / "store.log", "wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def environ_of(name: str, key_secrets: Mapping[str, str], ports: Mapping[str, int]) -> dict[str, str]:
    return {
        **{variable: value for variable, value in os.environ.items() if not variable.startswith("PREFECT_")},
        "MODNET_STORE": f"s3://{BUCKET}",
        "AWS_ENDPOINT_URL": f"http://{LOOPBACK}:{ports['s3']}",
        "AWS_ACCESS_KEY_ID": name,
        "AWS_SECRET_ACCESS_KEY": key_secrets[name],
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": LOOPBACK,
    }


def _memory_mb(pid: int, field: str) -> float:
    """VmRSS, what a process holds, or VmHWM, the most that it ever held."""
    (line,) = (text for text in Path(f"/proc/{pid}/status").read_text().splitlines() if text.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024 / 1e6


def _print_table(sent: list[Sent]) -> None:
    print("| report | answer | number |\n|---|---|---:|")
    for (kind, answer), number in sorted(Counter((one.kind, one.answer) for one in sent).items()):
        print(f"| {kind} | {answer} | {number} |")


if __name__ == "__main__":
    sys.exit(main())
