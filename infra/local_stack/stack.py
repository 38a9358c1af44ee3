"""Starts and stops the services of a single-machine run. Linux.

Everything a stack keeps lies in one folder: ports, secrets and processes in `stack.json`, logs, Prefect's database and
the stored objects. All services listen on loopback. `MODNET_PREFECT_PORT`, `MODNET_S3_PORT` and `MODNET_INGEST_PORT`
fix a port; otherwise a taken one is replaced by another.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from infra.device.files.atomic_file import atomic_file
from infra.errors import StackError
from infra.ingest.devices import IDENTITIES, Device, DeviceRegistry
from infra.ingest.invitations import Invitations
from infra.local_stack.automations import automate, webhook_of
from infra.local_stack.deployment import digest_of_project, run_prefect
from infra.local_stack.environments import MARKER, device_environ, ingest_environ, pipeline_environ, store_environ
from infra.local_stack.ports import choose_ports, fixed_port, listens, wait_until_free
from infra.local_stack.prefect_api import PrefectApi
from infra.local_stack.processes import Process, ask_to_reload, end_processes, is_running, processes_with, start_process
from infra.local_stack.services import (
    COMPUTING,
    DEFAULT_PORTS,
    LOCAL_DEVICE,
    MIN_FREE_BYTES,
    ONE_COMPUTES,
    SERVICES,
    STORE_LISTENERS,
    TARGETS,
    WORK_POOL,
    WORKER,
    agent_command,
    ingest_command,
    prefect_command,
    store_command,
    worker_command,
)
from infra.local_stack.state import StackState
from infra.local_stack.store_identities import store_identities
from infra.local_stack.store_security import write_store_security
from infra.local_stack.sweep import SWEPT, as_lines, cancel_runs, computes_here, skip_missed_runs, sweep
from infra.settings import Settings

_READY_WITHIN_S = 180.0
_POLL_S = 0.3
_ROOM_BYTES = 2 * MIN_FREE_BYTES  # a start with less would soon end in a store that takes nothing
# Flows say goodbye to these, which therefore end last, in this order. SeaweedFS needs 16 s to end in good order, and
# keeps every acknowledged write when it is killed.
_GRACE_S = {"prefect": 5.0, "store": 2.0}
_WORKER_GRACE_S = 12.0
_SECRETS = (*IDENTITIES, "prefect")  # of the S3 server's identities, and what Prefect asks for


class Stack:
    """The services of one project folder on this machine.

    Args:
        folder: where the stack keeps everything; made when it is missing.
        project: folder of `prefect.yaml`.
        environ: the caller's environment.
        targets: what the edge agent measures; empty for no agent.
    """

    def __init__(
        self, folder: Path, project: Path, environ: Mapping[str, str], targets: Sequence[str] = TARGETS
    ) -> None:
        self.folder = folder.resolve()
        self._project = project.resolve()
        self._environ = environ
        self._targets = tuple(targets)
        self._state_file = self.folder / "stack.json"
        self._services = SERVICES if targets else SERVICES[:-1]
        self._devices_file = self.folder / "devices.json"
        self._registry = DeviceRegistry(self._devices_file)
        self._state = self._read_state()
        self._started: dict[str, Process] = {}

    @property
    def keys(self) -> Path:
        """Folder of the keys that sign releases: the caller's MODNET_KEYS, or one of this stack alone.

        Raises:
            SettingsError: MODNET_KEYS names no folder.
        """
        named = {name: value for name, value in self._environ.items() if name == "MODNET_KEYS"}
        return Settings.from_env(named).keys_folder if named else self.folder / "keys"

    @property
    def api(self) -> PrefectApi:
        """Prefect's REST API."""
        return PrefectApi(
            self._state.api_url, self._state.secrets.get("prefect", "")
        )  # earlier versions asked for none

    @property
    def ui_url(self) -> str:
        """Address of Prefect's user interface."""
        return self._state.ui_url

    @property
    def ports(self) -> Mapping[str, int]:
        """Port of each listener, as it was when the listener was last started."""
        return self._state.ports

    @property
    def store_endpoint(self) -> str:
        """Address of the S3 server."""
        return self._state.store_endpoint

    def status(self) -> dict[str, Process | None]:
        """The process of each service; None when it does not run."""
        found = {name: self._state.processes.get(name) for name in self._services}
        return {name: process if process and is_running(process) else None for name, process in found.items()}

    def is_up(self) -> bool:
        """Every service runs."""
        return all(self.status().values())

    def started(self) -> list[str]:
        """Services that were started here, not by another command, and run since then."""
        return [name for name, process in self.status().items() if process and process == self._started.get(name)]

    def up(self) -> None:
        """Starts what does not run yet, waits until all of it is ready, and deploys the project's flows.

        Flow runs whose processes are gone are swept. Those that a schedule wanted while there was no server are
        skipped.

        Raises:
            StackError: a service does not start or a fixed port is taken; says which, and the end of its log. Or the
                disk has too little room.
            SettingsError: MODNET_WEBHOOK_URL is no address.
        """
        with self._locked():
            webhook = webhook_of(self._environ)
            self._require_room()
            self._make_secrets()
            self._make_keys()
            if self._targets and LOCAL_DEVICE not in self._registry.devices():
                self._registry.add(LOCAL_DEVICE)
            if not self._start("store", self._store):
                self._tell_store()
            is_new_server = self._start("prefect", self._prefect)
            self._wait("prefect", self.api.is_healthy)
            if is_new_server:
                skip_missed_runs(self.api)
            self._sweep()
            if is_new_server and (worker := self.status()["worker"]) and not computes_here(self.api):
                end_processes([worker], _WORKER_GRACE_S)  # it has lost its server, and gives up sooner or later
            if WORK_POOL not in self.api.work_pools():
                self.api.make_work_pool(WORK_POOL)
            self.api.keep_work_queue(WORK_POOL, COMPUTING, 1, ONE_COMPUTES)
            is_new_worker = self._start(
                "worker", lambda: (worker_command(self._worker_name()), self.pipeline_environ())
            )
            self._deploy()
            automate(self.api, webhook)
            self._wait_for_store()  # late: after a restart it needs longest
            self._renew()
            self._start("ingest", self._ingest)
            self._wait("ingest", lambda: listens(self._state.ports["ingest"]))
            if self._targets:
                self._start("agent", self._agent)
            if is_new_worker:
                self._wait("worker", lambda: self.api.has_worker(WORK_POOL, self._worker_name()))
            self.check()

    def check(self) -> None:
        """Does nothing while every service runs.

        Raises:
            StackError: one has ended by itself; shows the end of its log.
        """
        for name, process in self.status().items():
            if process is None:
                raise StackError(f"{name}: ended by itself; {self._log_end(name)}")

    def down(self, names: Collection[str] = SERVICES) -> None:
        """Ends services; with the last of them every process of the stack, flows and Ray included.

        Data, logs and secrets stay.

        Raises:
            StackError: a process cannot be ended.
        """
        if not self.folder.exists():
            return
        with self._locked():
            running = {name: process for name, process in self.status().items() if process}
            ending = {name: process for name, process in running.items() if name in names}
            is_all = ending == running
            if is_all and "prefect" in running:
                with suppress(StackError):  # one that does not answer is told at the next start
                    cancel_runs(self.api, "the services were stopped")
            last = {name: ending[name] for name in _GRACE_S if name in ending}
            first = self._processes() if is_all else ending.values()
            end_processes([one for one in first if one not in last.values()], _WORKER_GRACE_S)
            for name, process in last.items():
                end_processes([process], _GRACE_S[name])
            if is_all:
                end_processes(self._processes(), 0.0)
                self._remove_sockets()
                self._state.processes.clear()
            else:
                for name in ending:
                    del self._state.processes[name]
            self._state.write(self._state_file)

    def pipeline_environ(self) -> dict[str, str]:
        """Environment of worker and flows, see `environments.pipeline_environ`."""
        return pipeline_environ(self._environ, self.folder, self._state)

    def device_environ(self) -> dict[str, str]:
        """Environment of this machine's edge agent, see `environments.device_environ`."""
        return device_environ(self._environ, self.folder, self._state, self._registry.devices()[LOCAL_DEVICE])

    @property
    def ingest_url(self) -> str:
        """Address of the ingest."""
        return self._state.ingest_url

    @property
    def was_started(self) -> bool:
        """Store and ingest have been started once, and so have addresses."""
        return {"s3", "ingest"} <= self._state.ports.keys()

    def devices(self) -> Mapping[str, Device]:
        """Every device by its name, see `DeviceRegistry.devices`."""
        return self._registry.devices()

    @property
    def invitations(self) -> Invitations:
        """Tokens of devices that have no key yet; the ingest takes them."""
        return Invitations(self._devices_file.with_name("invitations.json"))

    @contextmanager
    def changing_devices(self) -> Iterator[DeviceRegistry]:
        """The registry of devices, to be changed; the store knows of it when the block ends, the ingest by itself.

        A store that could not be told is told by the next change, also where that changes nothing.

        Raises:
            StackError: another command is starting or stopping this stack.
        """
        with self._locked():
            yield self._registry
            self._tell_store()

    def _start(self, name: str, service: Callable[[], tuple[list[str], dict[str, str]]]) -> bool:
        """Starts a service unless it runs, remembers it before anything else can go wrong, and says whether it did.

        Args:
            name: of the service.
            service: gives its command and its environment.
        """
        if self.status()[name] is not None:
            return False
        command, environ = service()
        self._log(name).parent.mkdir(parents=True, exist_ok=True)
        process = start_process(command, environ=environ, log=self._log(name))
        self._state.processes[name] = self._started[name] = process
        self._state.write(self._state_file)
        return True

    def _make_keys(self) -> None:
        """Those of a development root, unless the caller brings some."""
        from infra.publishing.keys import development_keys  # the other verbs do without its packages

        folder = self.keys
        if "MODNET_KEYS" not in self._environ:
            development_keys(folder)

    def _make_secrets(self) -> None:
        """Makes what is not there yet. Services of an earlier version, which never asked for it, must not run on."""
        missing = [name for name in _SECRETS if name not in self._state.secrets]
        if missing and any(self.status().values()):
            raise StackError(
                f"{self.folder}: its services were started by an earlier version and are open to every user of this "
                "machine: end them first, by `make down` or python -m infra.local_stack down"
            )
        self._state.secrets |= StackState.new(missing).secrets

    def _require_room(self) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < _ROOM_BYTES:
            raise StackError(
                f"{self.folder}: {free / 1e9:.2f} GB free on its disk, wanted at least {_ROOM_BYTES / 1e9:.2f} GB: "
                "free some, or move the project to another disk"
            )

    def _sweep(self) -> None:
        """Settles what nobody computes any more, and says so on the terminal and in Prefect."""
        if rows := sweep(self.api, str(self.folder), 0.0):
            sys.stderr.write("".join(f"swept: {line}\n" for line in as_lines(rows)))
            self.api.show_table("sweep", rows, SWEPT)

    def _store(self) -> tuple[list[str], dict[str, str]]:
        ports = self._choose_ports(STORE_LISTENERS, "s3", "MODNET_S3_PORT")
        data = self.folder / "seaweedfs"
        data.mkdir(parents=True, exist_ok=True)
        identities = self._write_identities()
        security = self.folder / "store-security"
        write_store_security(security)
        if foreign := self._remove_sockets():
            raise StackError(
                f"{', '.join(foreign)}: belongs to another user, who would be taken for a part of the store: have it "
                f"removed, or change that port in {self._state_file}"
            )
        command = store_command(
            ports, data=data, identities=identities, security=security, log_folder=self.folder / "log"
        )
        return command, store_environ(self._environ, self.folder)

    def _write_identities(self) -> Path:
        """The file of who may do what on the store."""
        identities = self.folder / "identities.json"
        with atomic_file(identities) as partial:
            known = store_identities(self._state.secrets, self._registry.devices().values())
            partial.write(json.dumps(known).encode())
        return identities

    def _tell_store(self) -> None:
        """Lets a running store read anew who may do what."""
        if store := self.status()["store"]:  # one that does not run reads them when it starts
            self._make_secrets()
            self._write_identities()
            ask_to_reload(store)

    def _ingest(self) -> tuple[list[str], dict[str, str]]:
        port = self._choose_ports(["ingest"], "ingest", "MODNET_INGEST_PORT")["ingest"]
        return ingest_command(port, self._devices_file), ingest_environ(self._environ, self.folder, self._state)

    def _agent(self) -> tuple[list[str], dict[str, str]]:
        command = agent_command(self.folder / "agent", self.keys / "root.json", self._targets, self.ingest_url)
        return command, self.device_environ()

    def _prefect(self) -> tuple[list[str], dict[str, str]]:
        port = self._choose_ports(["prefect"], "prefect", "MODNET_PREFECT_PORT")["prefect"]
        return prefect_command(port), self.pipeline_environ()

    def _worker_name(self) -> str:
        """Differs after every start of the server's session, so that an old worker's entry is not taken for it."""
        return f"{WORKER}{self._state.processes['prefect'].pid}"

    def _choose_ports(self, names: Sequence[str], main: str, variable: str) -> dict[str, int]:
        """A port for each listener; `variable` of the caller's environment may fix that of the main one."""
        known = {name: self._state.ports.get(name, DEFAULT_PORTS.get(name, 0)) for name in names}
        fixed = fixed_port(self._environ, variable)
        wait_until_free([self._state.ports[name] for name in names if name in self._state.ports])
        ports = choose_ports(known, {} if fixed is None else {main: fixed})
        self._state.ports.update(ports)
        return ports

    def _wait_for_store(self) -> None:
        command = [sys.executable, "-m", "infra.local_stack.wait_for_store", "--limit-s", str(_READY_WITHIN_S)]
        done = subprocess.run(command, env=self.pipeline_environ(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise StackError(f"store: {done.stderr.strip()}; {self._log_end('store')}")

    def _renew(self) -> None:
        """Signs anew what the nights would have while the machine was off; what hinders it is said, and no more."""
        command = [sys.executable, "-m", "infra.local_stack.renew"]
        done = subprocess.run(command, env=self.pipeline_environ(), capture_output=True, text=True, check=False)
        if done.returncode:
            sys.stderr.write(f"what is released was not signed anew: {done.stderr.strip()}\n")

    def _wait(self, name: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _READY_WITHIN_S
        while not ready():
            if self.status()[name] is None:
                raise StackError(f"{name}: ended while it started; {self._log_end(name)}")
            if time.monotonic() >= deadline:
                raise StackError(f"{name}: not ready after {_READY_WITHIN_S:g} s; {self._log_end(name)}")
            time.sleep(_POLL_S)

    def _deploy(self) -> None:
        """Deploys the project's flows unless Prefect has them as they are: it takes as long as all the rest of `up`."""
        digest = digest_of_project(self._project)
        if self._state.deployed != digest:
            arguments = ("--no-prompt", "deploy", "--all")
            run_prefect(arguments, project=self._project, environ=self.pipeline_environ())
            self._state.deployed = digest
            self._state.write(self._state_file)

    def _processes(self) -> list[Process]:
        """Every running process of this stack, started by it or by one of its own."""
        started = {process for process in self._state.processes.values() if is_running(process)}
        return list(started.union(processes_with(MARKER, str(self.folder))))

    def _remove_sockets(self) -> list[str]:
        """Removes what a killed SeaweedFS leaves behind; it puts its sockets there whatever it is told.

        Returns:
            Those that are another user's and stay.
        """
        foreign = []
        for name in STORE_LISTENERS:
            for socket_file in Path("/tmp").glob(f"seaweedfs-*-{self._state.ports.get(name, 0)}.sock"):
                try:
                    socket_file.unlink(missing_ok=True)
                except PermissionError:
                    foreign.append(f"{socket_file} ({name})")
        return foreign

    def _log(self, name: str) -> Path:
        return self.folder / "log" / f"{name}.log"

    def _log_end(self, name: str) -> str:
        try:
            lines = self._log(name).read_text(errors="replace").splitlines()[-15:]
        except FileNotFoundError:
            lines = ["(nothing)"]
        return f"the end of {self._log(name)}:\n" + "\n".join(lines)

    def _read_state(self) -> StackState:
        try:
            state = StackState.read(self._state_file)
        except FileNotFoundError:
            return StackState.new(_SECRETS)
        if state.folder not in ("", str(self.folder)) and (Path(state.folder) / self._state_file.name).exists():
            # The folder is a copy: the processes belong to the stack that it was copied from.
            state.processes.clear()
            state.folder = ""
        return state

    def _leave_former_folder(self) -> None:
        """Ends what was started before the folder was moved, and would go on writing to a place that is gone."""
        if self._state.folder not in ("", str(self.folder)):
            end_processes({*self._processes(), *processes_with(MARKER, self._state.folder)}, _WORKER_GRACE_S)
            self._state.processes.clear()
        self._state.folder = str(self.folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lets one command at a time change the stack, from what the last one left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)  # the files below need no modes of their own
        with open(self.folder / "stack.lock", "wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StackError(f"{self.folder}: another command is starting or stopping this stack") from error
            self._state = self._read_state()
            self._leave_former_folder()
            yield
