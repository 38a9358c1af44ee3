"""What somebody needs who was not there when it broke: as the files of one zip, with secrets taken out.

Each part is collected by itself: what cannot be says why in its place. Nothing is started, changed or asked that is not
there. Linux.
"""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from infra.device.shown import shown
from infra.local_stack.environments import MARKER
from infra.local_stack.ports import LOOPBACK, listens
from infra.local_stack.prefect_api import PrefectApi
from infra.local_stack.processes import processes_with
from infra.local_stack.scrubbing import PUBLIC, REMOVED, SECRETIVE, Scrubber, known_secrets
from infra.local_stack.services import MIN_FREE_BYTES
from infra.local_stack.stack import Stack

LOG_FILES, LOG_BYTES = 30, 256 << 10  # the newest, and the end of each
RUNS, RUN_LOG_LINES = 20, 1000
_LOG_OF_RUN = timedelta(minutes=30)
_ENDS_WITHIN_S = 30.0
_SHOWN_VARIABLES = ("MODNET_", "PREFECT_", "RAY_", "AWS_", "OMP_", "GOMP_", "CUDA_", "NVIDIA_", "HTTP", "NO_PROXY")
_PLAIN_VARIABLES = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV")
_FAILED = ("FAILED", "CRASHED")


def support_bundle(folder: Path, environ: Mapping[str, str]) -> tuple[bytes, list[str]]:
    """A zip, and the names of the parts that could not be collected.

    Args:
        folder: of the stack, which may be broken or not be there.
        environ: the caller's environment.
    """
    bundle = _Bundle(folder.resolve(), environ)
    parts: list[tuple[str, Callable[[], str]]] = [
        ("checks.txt", bundle.checks),
        ("versions.txt", bundle.versions),
        ("settings.txt", bundle.settings),
        ("stack.txt", bundle.stack),
        ("processes.txt", bundle.processes),
        ("disk.txt", bundle.disk),
        ("devices.txt", bundle.devices),
        ("ray.txt", bundle.ray),
        ("runs.json", bundle.runs),
        ("runs-log.txt", bundle.log_of_last_failed),
        *bundle.files(),
    ]
    scrub, missing, content = bundle.scrubber(), [], io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts:
            try:
                text = part()
            except Exception as error:  # whatever is broken here is why somebody asks for a bundle
                text = f"not collected: {type(error).__name__}: {error}\n"
                missing.append(name)
            archive.writestr(scrub(name), scrub(text))
    return content.getvalue(), missing


class _Bundle:
    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = environ

    def scrubber(self) -> Scrubber:
        """Knows what is secret here: in the environment of this process and of the stack's, and in its files."""
        environs = [self._environ, os.environ, *map(_environ_of, self._pids())]
        keys = (environ["MODNET_KEYS"] for environ in environs if "MODNET_KEYS" in environ)
        folders = [self._folder, self._folder / "keys", self._folder / "store-security", *map(Path, keys)]
        return Scrubber(known_secrets(environs, folders))

    def checks(self) -> str:
        """A line for each look, as of `modnet-agent doctor`."""
        looks: dict[str, Callable[[], tuple[bool, str]]] = {
            "services": self._check_services,
            "ports": self._check_ports,
            "Prefect": self._check_prefect,
            "disk": self._check_disk,
            "secrets": self._check_modes,
            "keys": self._check_keys,
        }
        lines = []
        for about, look in looks.items():
            try:
                is_well, words = look()
            except Exception as error:  # the next look may go well
                is_well, words = False, f"{type(error).__name__}: {error}"
            lines.append(f"{'ok' if is_well else 'NOT OK':7}{about:10} {shown(words)}")
        return _lines(lines)

    def versions(self) -> str:
        """Of this machine, of Python, and of all that is installed."""
        found = {str(one.metadata["Name"]): one.version for one in distributions()}
        named = [f"{name}=={found[name]}" for name in sorted(found, key=str.lower)]
        python = f"Python {sys.version} at {sys.executable}"
        cores = f"{os.cpu_count()} cores, {len(os.sched_getaffinity(0))} of them usable"
        memory = Path("/proc/meminfo").read_text().splitlines()[:3]
        return _lines([datetime.now(UTC).isoformat(), platform.platform(), python, cores, *memory, "", *named])

    def settings(self) -> str:
        """Variables that something here reads; of others not even the names."""
        lines = []
        for name, value in sorted(self._environ.items()):
            if name.upper().startswith(_SHOWN_VARIABLES) or name in _PLAIN_VARIABLES:
                is_secret = SECRETIVE.search(name) and name not in PUBLIC
                lines.append(f"{name}={REMOVED if is_secret else shown(value)}")
        return _lines(lines)

    def stack(self) -> str:
        """What runs, and where; as `python -m infra.local_stack status`."""
        stack = self._stack()
        lines = [f"folder {self._folder}"]
        for name, process in stack.status().items():
            lines.append(f"{name:8} {f'runs (pid {process.pid})' if process else 'does not run'}")
        lines += [f"Prefect  {stack.ui_url}", f"S3       {stack.store_endpoint}", f"ingest   {stack.ingest_url}"]
        lines += [f"port {port:6} {name}" for name, port in stack.ports.items()]
        return _lines(lines)

    def processes(self) -> str:
        """Those of the stack, flows and Ray included: pid, state, memory, command."""
        lines = []
        for pid in self._pids():
            with suppress(OSError):
                status = dict(
                    line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
                )
                command = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
                memory, state = status.get("VmRSS", "").strip(), status["State"].strip()
                lines.append(f"{pid:7} {state:13} {memory:>12} {shown(command)[:500]}")
        return _lines(lines or ["no process of this stack runs"])

    def disk(self) -> str:
        """Room and inodes of every disk."""
        return f"{_output(['df', '-hP'])}\n{_output(['df', '-iP'])}"

    def devices(self) -> str:
        """Devices that have a key, without it."""
        found = self._stack().devices().values()
        says = (f"{one.name} added {one.added_at}, revoked {one.revoked_at or 'never'}" for one in found)
        return _lines(says) or "no devices\n"

    def ray(self) -> str:
        """Nodes of a cluster, as `ray status` tells them."""
        address = self._environ.get("RAY_ADDRESS", "local")
        if address in ("local", "auto"):
            return "no address of a cluster is set (RAY_ADDRESS); a run's own Ray is among the processes\n"
        return _output([str(Path(sys.executable).with_name("ray")), "status", f"--address={address}"])

    def runs(self) -> str:
        """The last flow runs with their states, and the timelines that they have."""
        runs = self._last_runs()
        timelines = {one["flow_run_id"]: one["data"] for one in self._api().timelines([run["id"] for run in runs])}
        told = ("id", "name", "deployment_id", "expected_start_time", "start_time", "end_time", "infrastructure_pid")
        rows = []
        for run in runs:
            state = run["state"] or {}
            row = {name: run.get(name) for name in told}
            row |= {"state": state.get("name"), "message": state.get("message")}
            rows.append(row | {"timeline": _parsed(timelines.get(run["id"]))})
        return json.dumps(rows, indent=1)

    def log_of_last_failed(self) -> str:
        """The end of the log of the run that failed last, its subflows included."""
        failed = next((run for run in self._last_runs() if run["state_type"] in _FAILED), None)
        if failed is None:
            return f"none of the last {RUNS} runs has failed\n"
        api, run_ids = self._api(), {str(failed["id"])}
        while not run_ids.issuperset(found := api.subflow_runs(run_ids)):
            run_ids.update(found)
        ended_at = datetime.fromisoformat(failed["end_time"] or failed["expected_start_time"])
        last = api.logs(run_ids, ended_at - _LOG_OF_RUN)
        lines = [f"{line['timestamp']} {line['level']} {shown(line['message'])}" for line in last]
        return _lines([f"flow run {failed['id']} {failed['name']}", *lines[-RUN_LOG_LINES:]])

    def files(self) -> list[tuple[str, Callable[[], str]]]:
        """Logs, figures, what the agent's last round came to, and what the last `make nightly` asked for."""
        changed_at = {}
        for path in (self._folder / "log").glob("*"):
            with suppress(OSError):  # gone meanwhile
                if path.is_file() and not path.is_symlink():
                    changed_at[path] = path.stat().st_mtime
        newest = sorted(changed_at, key=lambda path: changed_at[path], reverse=True)[:LOG_FILES]
        beside = [self._folder / "agent" / "last_round.json", self._folder / "parameters.json"]
        paths = [*newest, *(self._folder / "metrics").glob("*.prom"), *filter(Path.exists, beside)]
        return [(str(path.relative_to(self._folder)), partial(_end, path)) for path in paths]

    def _check_services(self) -> tuple[bool, str]:
        status = self._stack().status()
        down = [name for name, process in status.items() if process is None]
        return not down, f"{', '.join(down)}: not running, see the end of its log" if down else "all run"

    def _check_ports(self) -> tuple[bool, str]:
        ports = self._stack().ports
        closed = [f"{name} ({port})" for name, port in ports.items() if not listens(port)]
        if closed or not ports:
            return False, f"nobody listens at {', '.join(closed)} of {LOOPBACK}" if ports else "none was ever chosen"
        return True, "all are open"

    def _check_prefect(self) -> tuple[bool, str]:
        is_healthy = self._api().is_healthy()
        return is_healthy, "answers that it is well" if is_healthy else "does not answer, or refuses the secret"

    def _check_disk(self) -> tuple[bool, str]:
        free = shutil.disk_usage(self._folder).free
        return free >= 2 * MIN_FREE_BYTES, f"{free / 1e9:.2f} GB free, wanted {2 * MIN_FREE_BYTES / 1e9:.2f}"

    def _check_modes(self) -> tuple[bool, str]:
        mode = self._folder.stat().st_mode & 0o777
        return mode == 0o700, f"{self._folder}: mode {mode:o}, wanted 700"

    def _check_keys(self) -> tuple[bool, str]:
        root = json.loads((self._stack().keys / "root.json").read_text())["signed"]
        left = datetime.fromisoformat(root["expires"]) - datetime.now(UTC)
        return left > timedelta(), f"root version {root['version']} counts until {root['expires']}"

    def _stack(self) -> Stack:
        return Stack(self._folder, self._folder.parent, self._environ)

    def _api(self) -> PrefectApi:
        stack = self._stack()
        if stack.status()["prefect"] is None:
            raise ConnectionError("Prefect's server does not run")
        return stack.api

    def _last_runs(self) -> list[dict[str, Any]]:
        return self._api().last_runs(RUNS)

    def _pids(self) -> list[int]:
        return sorted(one.pid for one in processes_with(MARKER, str(self._folder)))


def _environ_of(pid: int) -> dict[str, str]:
    with suppress(OSError):
        pairs = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
        return dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    return {}


def _end(path: Path) -> str:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LOG_BYTES))
        text = file.read().decode(errors="replace")
    if size <= LOG_BYTES:
        return text
    return f"(the last {LOG_BYTES} of {size} bytes)\n{text.partition(chr(10))[2]}"  # half a line may be half a secret


def _output(command: list[str]) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_ENDS_WITHIN_S, check=False
    )
    return done.stdout + done.stderr


def _parsed(data: object) -> object:
    if isinstance(data, str):
        with suppress(ValueError):
            return json.loads(data)
    return data


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
