"""Services as `make up` starts them, for a benchmark alone: on free ports, in a folder of its own."""

from __future__ import annotations

import json
import os
import random
import secrets
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from infra.device.documents.checks import utc_now
from infra.device.documents.latency_report import LatencyReport
from infra.device.documents.latency_summary import intervals, summarise
from infra.device.measuring.request import MeasureSettings
from infra.device.stores.object_store import ObjectStore, open_store
from infra.ingest.devices import IDENTITIES, Device, DeviceRegistry
from infra.local_stack.ports import LOOPBACK, choose_ports, listens
from infra.local_stack.services import BUCKET, STORE_LISTENERS, TARGETS, ingest_command, store_command
from infra.local_stack.stack import Stack
from infra.local_stack.store_identities import store_identities
from infra.local_stack.store_security import write_store_security
from infra.local_stack.wait_for_store import wait_for_store

PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Services:
    """What runs.

    Attributes:
        store: with the pipeline's key, which is in the environment of this process as well.
        devices: by name, each with a key of its own.
        ports: of each listener on loopback.
        ingest_pid: process of the ingest.
    """

    store: ObjectStore
    devices: Mapping[str, Device]
    ports: Mapping[str, int]
    ingest_pid: int


@contextmanager
def services(folder: Path, device_names: Sequence[str] = ()) -> Iterator[Services]:
    """Starts both, and ends both with the block."""
    registry = DeviceRegistry(folder / "devices.json")
    devices = {name: registry.add(name) for name in device_names}
    key_secrets = {name: secrets.token_urlsafe(30) for name in IDENTITIES}
    ports = choose_ports(dict.fromkeys([*STORE_LISTENERS, "ingest"], 0), {})
    processes = [_start_store(folder, ports, key_secrets, list(devices.values()))]
    try:
        os.environ.update(environ_of("pipeline", key_secrets["pipeline"], ports["s3"]))
        store = open_store(f"s3://{BUCKET}")
        wait_for_store(store, 60.0)
        command = ingest_command(ports["ingest"], folder / "devices.json")
        environ = environ_of("ingest", key_secrets["ingest"], ports["s3"])
        with open(folder / "ingest.log", "wb") as log:
            processes.append(subprocess.Popen(command, env=environ, stderr=log))
        while not listens(ports["ingest"]):
            time.sleep(0.1)
        yield Services(store, devices, ports, processes[-1].pid)
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextmanager
def whole_stack(targets: Sequence[str] = TARGETS) -> Iterator[Stack]:
    """Starts all that `make up` starts, and ends it with the block; this process has the pipeline's key of its store.

    Args:
        targets: that the agent measures.
    """
    with TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "stack", PROJECT, os.environ, targets)
        try:
            stack.up()
            os.environ.update({key: one for key, one in stack.pipeline_environ().items() if key.startswith("AWS_")})
            yield stack
        finally:
            stack.down()


def environ_of(key_id: str, secret: str, port: int) -> dict[str, str]:
    """The environment of who reads the store through a port of this machine by a key, and by nothing else."""
    return {
        **{variable: value for variable, value in os.environ.items() if not variable.startswith("PREFECT_")},
        "MODNET_STORE": f"s3://{BUCKET}",
        "AWS_ENDPOINT_URL": f"http://{LOOPBACK}:{port}",
        "AWS_ACCESS_KEY_ID": key_id,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": LOOPBACK,
    }


def drawn_report(device: str, release_id: str, target: str, chance: random.Random) -> LatencyReport:
    """A report of as many samples as an agent takes by default."""
    samples = tuple(chance.uniform(20.0, 30.0) for _ in range(MeasureSettings.repeats))
    return LatencyReport(
        release_id=release_id,
        target=target,
        device=device,
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


def memory_mb(pid: int, field: str) -> float:
    """VmRSS, what a process holds, or VmHWM, the most that it ever held, in 10^6 bytes."""
    (line,) = (text for text in Path(f"/proc/{pid}/status").read_text().splitlines() if text.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024 / 1e6


def _start_store(
    folder: Path, ports: Mapping[str, int], key_secrets: Mapping[str, str], devices: list[Device]
) -> subprocess.Popen[bytes]:
    identities, data = folder / "identities.json", folder / "data"
    identities.write_text(json.dumps(store_identities(key_secrets, devices)))
    data.mkdir()
    write_store_security(folder / "security")
    command = store_command(
        {name: ports[name] for name in STORE_LISTENERS},
        data=data,
        identities=identities,
        security=folder / "security",
        log_folder=folder,
    )
    with open(folder / "store.log", "wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)
