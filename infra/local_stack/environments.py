"""What each process of a stack finds in its environment: the stack's own services, and no others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from infra import NO_STATISTICS
from infra.ingest.devices import Device
from infra.local_stack.ports import LOOPBACK
from infra.local_stack.services import BUCKET
from infra.local_stack.state import StackState

# Every process of a stack carries the stack's folder in this variable, also those that flows and Ray start.
MARKER = "MODNET_STACK"
# What worker and flows need so that a Prefect server that is away ends no work.
PATIENCE = {
    # Pauses double from 2 s: a request is made again for 68 minutes, at the latest when the server is back for as long
    # as it was away.
    "PREFECT_CLIENT_MAX_RETRIES": "11",
    "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",  # a question that Prefect asks once, and fails on
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # seconds; by them a sweep knows which runs of other machines live
}
_OF_INGEST = ("MODNET_STORE", "PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "no_proxy", "NO_PROXY")
# What a program needs of the caller's environment whatever it does.
_PLAIN_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "PYTHONPATH", "MODNET_LOG")


_JSON_LOGS = {
    # Prefect's own setting for JSON, and our formatter in place of its own.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER": "json",
    "PREFECT_LOGGING_FORMATTERS_JSON_CLASS": "infra.device.logs.JsonLines",
    "PREFECT_LOGGING_COLORS": "false",
    # Ray repeats its workers' lines in the flow's log: all of them, with nothing before them.
    "RAY_DISABLE_WORKER_LOG_PREFIX": "1",
    "RAY_DEDUP_LOGS": "0",
}


def pipeline_environ(caller: Mapping[str, str], folder: Path, state: StackState) -> dict[str, str]:
    """Environment of Prefect and flows: the caller's, with this stack's services instead of any others."""
    inherited = {name: value for name, value in caller.items() if not _names_a_service(name)}
    return {
        # OpenMP threads that spin while they wait take the cores from everything else here.
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "0",
        "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.1",  # else the last lines of a short flow are lost
        "PREFECT_LOGGING_EXTRA_LOGGERS": "infra.patience",  # who waits for a store shall read so in the run's log
        **(_JSON_LOGS if caller.get("MODNET_LOG") == "json" else {}),
        **inherited,
        **{name: caller[name] for name in ("MODNET_LOG",) if name in caller},
        **_store_client_environ(folder, state, "pipeline", state.secrets["pipeline"]),
        **_without_proxy(caller),
        "MODNET_STORE": f"s3://{BUCKET}",
        "MODNET_CACHE": caller.get("MODNET_CACHE", str(folder / "cache")),
        "MODNET_LEGACY": caller.get("MODNET_LEGACY", str(folder / "legacy")),
        "MODNET_KEYS": caller.get("MODNET_KEYS", str(folder / "keys")),
        "PREFECT_API_URL": state.api_url,
        "PREFECT_API_AUTH_STRING": state.secrets["prefect"],
        "PREFECT_SERVER_API_AUTH_STRING": state.secrets["prefect"],
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": state.ui_url,
        "PREFECT_HOME": str(folder / "prefect"),
        **NO_STATISTICS,
        # The browser asks where it got the page from; with a whole address, not through a tunnel or from a container.
        "PREFECT_SERVER_UI_API_URL": "/api",
        # Who holds a deployment's slot; in memory, as it is by default, a killed server would forget it.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        # Runs that ended 90 days ago go, with their logs and artifacts; by default only events do.
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        **PATIENCE,
        "PYTHONUNBUFFERED": "1",
    }


def device_environ(caller: Mapping[str, str], folder: Path, state: StackState, device: Device) -> dict[str, str]:
    """Environment of an edge agent: the store with a device's rights, and nothing of Prefect."""
    return {**_plain_environ(caller), **_store_client_environ(folder, state, device.key_id, device.secret)}


def ingest_environ(caller: Mapping[str, str], folder: Path, state: StackState) -> dict[str, str]:
    """Environment of the ingest: the store with its own rights, and Prefect as flows reach it."""
    as_flows = pipeline_environ(caller, folder, state)
    return {
        **_plain_environ(caller),
        **{name: as_flows[name] for name in _OF_INGEST if name in as_flows},
        **_store_client_environ(folder, state, "ingest", state.secrets["ingest"]),
    }


def store_environ(caller: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Environment of the S3 server itself, which needs nobody's rights and not the user's own ~/.seaweedfs."""
    return {**_plain_environ(caller), MARKER: str(folder), "HOME": str(folder)}


def _names_a_service(name: str) -> bool:
    """A variable that could lead to other services than the stack's; how much Prefect logs is the caller's affair."""
    foreign = name.startswith(("AWS_", "PREFECT_", "MODNET_")) or name == "RAY_ADDRESS"
    return foreign and not name.startswith("PREFECT_LOGGING_")


def _without_proxy(caller: Mapping[str, str]) -> dict[str, str]:
    """The hosts that the caller reaches without a proxy, and the services of the stack; programs read either name."""
    hosts = [host.strip() for name in ("no_proxy", "NO_PROXY") for host in caller.get(name, "").split(",")]
    # `*` counts only where it stands alone.
    merged = "*" if "*" in hosts else ",".join(dict.fromkeys([*filter(None, hosts), LOOPBACK, "localhost"]))
    return {"no_proxy": merged, "NO_PROXY": merged}


def _plain_environ(caller: Mapping[str, str]) -> dict[str, str]:
    return {name: caller[name] for name in _PLAIN_VARIABLES if name in caller}


def _store_client_environ(folder: Path, state: StackState, key_id: str, secret: str) -> dict[str, str]:
    return {
        MARKER: str(folder),
        "AWS_ENDPOINT_URL": state.store_endpoint,
        "AWS_ACCESS_KEY_ID": key_id,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
