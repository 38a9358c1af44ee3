"""What a stack runs, and how it is started: SeaweedFS (S3), Prefect server and worker, the ingest, an edge agent."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.local_stack.ports import LOOPBACK

SERVICES = ("store", "prefect", "worker", "ingest", "agent")
LOCAL_DEVICE = "local"  # the agent of this machine
BUCKET = "modnet"
WORK_POOL = "modnet"
COMPUTING = "computing"
"""Work queue of the flows that compute on a cluster: one run at a time. What is in no queue by name never waits."""
ONE_COMPUTES = "One run computes at a time. The others wait, as `Scheduled` or `Late`, until it has ended."
WORKER = f"local-{platform.node()}-"
"""How the names of a stack's workers begin; workers on other machines are called otherwise."""
PACKAGES = ("boto3", "prefect", "tuf")  # of the extra `pipeline`, which brings SeaweedFS as well
TARGETS = ("cpu-fp32", "cpu-fp16", "cpu-int8")
AGENT_INTERVAL_S = 3
STORE_LISTENERS = ("s3", "s3.grpc", "master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc")
# Below this much free space SeaweedFS takes nothing more. By its default, 1 %, a disk of 2 TB is full at 20 GB.
MIN_FREE_BYTES = 512 << 20
DEFAULT_PORTS = {"prefect": 4200, "s3": 8333, "ingest": 8343}


def store_command(
    ports: Mapping[str, int],
    *,
    data: Path,
    identities: Path,
    security: Path,
    log_folder: Path,
    s3_address: str = LOOPBACK,
) -> list[str]:
    """Starts SeaweedFS.

    Args:
        ports: port of each of STORE_LISTENERS.
        data: folder of the stored objects; must exist.
        identities: file with the JSON of `store_identities`.
        security: folder that `write_store_security` has filled.
        log_folder: of SeaweedFS's own logs.
        s3_address: that S3 listens on; everything else stays on loopback.
    """
    weed = Path(sys.executable).with_name("weed")
    # `-config_dir` comes before ./security.toml and ~/.seaweedfs.
    command = [str(weed), f"-logdir={log_folder}", f"-config_dir={security}", "server", f"-dir={data}", "-filer", "-s3"]
    command += [f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}", f"-s3.ip.bind={s3_address}"]
    command.append(f"-s3.config={identities}")
    for name, port in ports.items():
        service, _, kind = name.partition(".")
        command.append(f"-{service}.port{'.' * bool(kind)}{kind}={port}")
    # Objects are given and taken by S3 alone (the filer goes by the first flag too), and to no page of another origin.
    command += ["-disableHttp", f"-s3.allowedOrigins=http://{LOOPBACK}:{ports['s3']}"]
    # Services with fixed ports that nobody asked for, usage statistics, and files of 30 GB.
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    command += [f"-volume.minFreeSpace={MIN_FREE_BYTES >> 20}MiB"]
    command += ["-master.volumeSizeLimitMB=256", "-volume.max=0", "-master.volumePreallocate=false"]
    return command


def prefect_command(port: int) -> list[str]:
    """Starts the Prefect server."""
    return [sys.executable, "-m", "infra.local_stack.prefect_server", str(port)]


def worker_command(name: str) -> list[str]:
    """Starts a Prefect worker of this name."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--type", "process", "--pool", WORK_POOL]
    return [*command, "--name", name]


def ingest_command(port: int, devices: Path) -> list[str]:
    """Starts the ingest for the devices of a registry."""
    return [sys.executable, "-m", "infra.ingest", "--port", str(port), "--devices", str(devices)]


def agent_command(work_folder: Path, root: Path, targets: Sequence[str], ingest_url: str) -> list[str]:
    """Starts an edge agent that measures these targets on this machine, as far as `root` leads to who signed them."""
    command = [sys.executable, "-m", "infra.device", "--device", LOCAL_DEVICE, "--store", f"s3://{BUCKET}"]
    command += ["--root", str(root), "--ingest", ingest_url]
    command += ["--work-folder", str(work_folder), "--interval-s", str(AGENT_INTERVAL_S)]
    for target in targets:
        command += ["--target", target]
    return command
