"""`doctor`: looks at everything that the agent needs, and says of each whether it is there and what to do if not."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from functools import partial

from infra.device.agent.lock import holder
from infra.device.agent.pace import ASKED_WITHIN_S, must_move
from infra.device.agent.runtimes import ask_runtime
from infra.device.agent.settings import Deadlines, RuntimeSettings
from infra.device.cli.config import AgentConfig
from infra.device.cli.findings import NOTE, OK, WRONG, Finding
from infra.device.cli.network import clock_finding, network_finding
from infra.device.cli.run import trust_of
from infra.device.cli.stick import stick_findings
from infra.device.errors import InfraError, NotStoredError
from infra.device.measuring.machine import machine_conditions
from infra.device.measuring.runtime import device_of
from infra.device.stores.object_store import open_store

_ROOM_BYTES = 200 << 20  # of the work folder: some releases at a time, and reports
_STICK = "MYRIAD"


def findings(read: Callable[[], AgentConfig]) -> Iterator[Finding]:
    """Every finding, in the order in which things need each other; raises nothing.

    Args:
        read: gives the settings.
    """
    yield from _guarded("python", _python)
    try:
        config = read()
        yield Finding("settings", OK, f"device {config.device}, targets {', '.join(config.targets)}")
    except (InfraError, OSError) as error:
        yield Finding("settings", WRONG, f"{error}. Nothing behind them was looked at")
        return
    for about, look in (
        ("packages", _packages),
        ("key", _key),
        ("work folder", _work_folder),
        ("root.json", _root),
        ("runtime", _runtimes),
        ("network", _network),
        ("releases", _releases),
        ("speed", _speed),
    ):
        yield from _guarded(about, partial(look, config))


def _guarded(about: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What a look finds; what it raises is a finding as well, since whoever asks a doctor wants no traceback."""
    try:
        yield from look()
    except InfraError as error:
        yield Finding(about, WRONG, str(error))
    except Exception as error:  # a library that is half there raises whatever it likes, and the next look may go well
        yield Finding(about, WRONG, f"{type(error).__name__}: {error}")


def _python() -> Iterator[Finding]:
    yield Finding("python", OK, f"{platform.python_version()}, {sys.executable}")


def _packages(config: AgentConfig) -> Iterator[Finding]:
    is_remote = config.store.startswith("s3://") or config.ingest is not None
    for name in ("cryptography", *["boto3"] * is_remote):
        try:
            module = importlib.import_module(name)
            yield Finding(name, OK, str(getattr(module, "__version__", "")))
        except ImportError as error:
            yield Finding(name, WRONG, f"{error}: {sys.executable} -m pip install {name}")


def _key(config: AgentConfig) -> Iterator[Finding]:
    if config.key_file is not None:
        config.set_aws()
        beside = "; AWS_ACCESS_KEY_ID is set, and goes before it" * ("AWS_ACCESS_KEY_ID" in os.environ)
        yield Finding("key", OK, f"{config.key_file}{beside}")
    else:
        config.set_aws()
        if config.store.startswith("s3://"):
            is_set = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= os.environ.keys()
            words = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            yield (
                Finding("key", OK, words)
                if is_set
                else Finding("key", NOTE, f"{words} are not set, and key_file neither: boto3 looks for a key elsewhere")
            )


def _work_folder(config: AgentConfig) -> Iterator[Finding]:
    folder = config.work_folder
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        yield Finding("work folder", WRONG, f"{folder}: cannot be written to ({error}): give it to the agent's user")
    else:
        free_bytes = shutil.disk_usage(there).free
        state, todo = (OK, "") if free_bytes >= _ROOM_BYTES else (WRONG, f", wanted {_ROOM_BYTES >> 20}: make room")
        yield Finding("work folder", state, f"{folder}: {free_bytes >> 20} MiB free{todo}")
    running = holder(folder)
    yield Finding("agent", OK, "does not run" if running is None else f"runs, process {running}")


def _root(config: AgentConfig) -> Iterator[Finding]:
    try:
        data = config.root.read_bytes()
    except OSError as error:
        yield Finding("root.json", WRONG, f"{error}: copy it from whoever signs the releases, or enrol")
        return
    trust_of(config, open_store("file:///"))  # reads no store yet, and refuses what is no root
    from tuf.api.metadata import Metadata, Root

    root: Root = Metadata[Root].from_bytes(data).signed
    # tuf 5 has times without a zone, in UTC.
    left = root.expires.replace(tzinfo=timezone.utc) - datetime.now(timezone.utc)
    words = f"version {root.version}, counts until {root.expires:%Y-%m-%d}"
    if left.total_seconds() < 0:
        yield Finding("root.json", NOTE, f"{words}: its time is over, so a newer one must be in the store")
    else:
        yield Finding("root.json", OK, words)


def _runtimes(config: AgentConfig) -> Iterator[Finding]:
    for runtime in config.runtimes:
        yield from _runtime(runtime, filter(runtime.runs, config.targets), Deadlines(load_s=config.load_s))
    if any(device_of(target) == _STICK for target in config.targets):
        yield from stick_findings()


def _runtime(runtime: RuntimeSettings, targets: Iterable[str], deadlines: Deadlines) -> Iterator[Finding]:
    about = f"runtime {runtime.name}"
    try:
        yield Finding(about, OK, f"{ask_runtime(runtime, deadlines)}, {runtime.python}")
    except InfraError as error:
        yield Finding(about, WRONG, str(error))
        return
    for target in targets:
        try:
            ask_runtime(runtime, deadlines, present=(device_of(target),))
            yield Finding(target, OK, f"can be measured by {about}")
        except InfraError as error:
            yield Finding(target, WRONG, str(error))


def _network(config: AgentConfig) -> Iterator[Finding]:
    urls = {} if config.ingest is None else {"to the ingest": config.ingest}
    if config.store.startswith("s3://"):
        region = os.environ.get("AWS_DEFAULT_REGION", "us-east-1")
        urls["to the store"] = os.environ.get("AWS_ENDPOINT_URL") or f"https://s3.{region}.amazonaws.com"
    for about, url in urls.items():
        yield network_finding(about, url)
    for url in list(urls.values())[:1]:
        yield clock_finding(url)


def _releases(config: AgentConfig) -> Iterator[Finding]:
    config.set_aws()
    trust = trust_of(config, open_store(config.store))
    try:
        with must_move("what is signed", ASKED_WITHIN_S):
            trust.refresh()
    except NotStoredError as error:
        yield Finding("releases", NOTE, str(error))
    else:
        yield Finding("releases", OK, f"{config.store}: read by this key, and signed by whom root.json names")


def _speed(config: AgentConfig) -> Iterator[Finding]:
    found = machine_conditions()
    quota, governor = found.get("cpu_quota_count"), found.get("cpu_governor_text")
    if quota is None:
        yield Finding("cpu quota", OK, f"none, {found.get('usable_cores_count')} cores")
    else:
        yield Finding("cpu quota", NOTE, f"{quota:g} CPUs by a control group: set threads to no more than that")
    if governor not in (None, "performance"):
        words = f"{governor}: times vary with it; for steady ones write performance to scaling_governor of each CPU"
        yield Finding("cpu governor", NOTE, words)
