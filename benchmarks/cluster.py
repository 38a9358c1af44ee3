"""A Ray cluster whose machines share no disk, played on this one: `make cluster-demo`.

A head, which runs the flow, Prefect and the S3 server, and two nodes, which compute. Each has a home, a cache and
folders of temporary files of its own. They share the S3 server and Ray's token. Where the user may make namespaces,
each has a network, a host name and mounts of its own as well, and sees no other's folder. Linux.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType

from benchmarks.tiny import tiny_run
from infra import NO_STATISTICS
from infra.errors import StackError
from infra.local_stack.ports import LOOPBACK, choose_ports
from infra.local_stack.processes import processes_with
from infra.local_stack.services import BUCKET, STORE_LISTENERS, prefect_command, store_command
from infra.local_stack.store_identities import store_identities
from infra.local_stack.store_security import write_store_security
from infra.publishing.keys import development_keys
from modnet.configs import ComputeConfig
from tasks.configs.compress import CompressConfig

PROJECT = Path(__file__).resolve().parents[1]
HEAD, *NODES = MACHINES = ("head", "node-a", "node-b")
ONE_CPU = ComputeConfig(base_cpus=1)  # what a node has
_MARKER = "MODNET_MACHINE"  # every process of a machine carries the machine's folder in this variable
_READY_WITHIN_S = 180.0
_OBJECT_STORE_BYTES = 128 << 20
_OWN_NAMESPACES = ("--net", "--uts", "--mount")
# Waits for Prefect, runs the flow with a file of settings, and prints log and leaderboard.
_RUN = """
import logging, os, sys, time
from pathlib import Path
logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
logging.getLogger("infra.ray_pool").setLevel(logging.INFO)
from infra.local_stack.nightly import summary
from infra.local_stack.prefect_api import PrefectApi
api = PrefectApi(os.environ["PREFECT_API_URL"], os.environ["PREFECT_API_AUTH_STRING"])
while not api.is_healthy():
    time.sleep(0.3)
from flows.compress import compress
from tasks.configs.compress import CompressConfig
state = compress(CompressConfig.model_validate_json(Path(sys.argv[1]).read_text()), return_state=True)
run = str(state.state_details.flow_run_id)
print("\\n".join(summary(api.artifacts([run, *api.subflow_runs([run])]))))
sys.exit(not state.is_completed())
"""
_STARTED = re.compile(r"retrain (\S+): started on \S+ at (\S+)")


class Machine:
    """A machine that is played here.

    Args:
        name: one of MACHINES.
        address: at which the others reach it.
        folder: everything that it keeps.
        enter: what stands before a command that it runs.
        environ: of each of its processes.
    """

    def __init__(self, name: str, address: str, folder: Path, environ: dict[str, str]) -> None:
        self.name, self.address, self.folder = name, address, folder
        self.enter: list[str] = []
        self._started: list[subprocess.Popen[bytes]] = []
        own = {"HOME": "home", "TMPDIR": "tmp", "MODNET_CACHE": "cache", "MODNET_LEGACY": "legacy"}
        for part in (*own.values(), "ray"):
            (folder / part).mkdir(parents=True)
        self.environ = {
            **environ,
            **{variable: str(folder / part) for variable, part in own.items()},
            _MARKER: str(folder),
        }

    def start(self, command: Sequence[str], log: str = "log", **environ: str) -> subprocess.Popen[bytes]:
        """Starts a program, whose output is appended to a log in the machine's folder."""
        with open(self.folder / log, "ab") as file:
            process = subprocess.Popen(
                [*self.enter, *command],
                cwd=PROJECT,
                env={**self.environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def run(self, command: Sequence[str]) -> str:
        """What a program prints, which is waited for.

        Raises:
            CalledProcessError: it fails.
        """
        done = subprocess.run(
            [*self.enter, *command],
            cwd=PROJECT,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout

    def kill(self) -> None:
        """Kills every process of the machine at once, as when it loses its power."""
        while left := processes_with(_MARKER, str(self.folder)):
            for process in left:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            time.sleep(0.05)
        for started in self._started:
            started.wait()
        self._started.clear()


class Cluster:
    """Head and nodes in a new folder below /tmp, whose paths are short enough for Ray's sockets; see `services`.

    Attributes:
        has_networks: each machine has a network of its own.
        machines: by name.
    """

    def __init__(self, folder: Path) -> None:
        self.has_networks = not subprocess.run(
            ["unshare", "--map-root-user", *_OWN_NAMESPACES, "ip", "link", "add", "try", "type", "bridge"],
            capture_output=True,
            check=False,
        ).returncode
        addresses = [f"10.77.0.{number}" if self.has_networks else f"127.0.0.{number}" for number in (1, 2, 3)]
        self._ports = choose_ports(dict.fromkeys([*STORE_LISTENERS, "ray", "prefect"], 0), {})
        self._secrets = {name: secrets.token_urlsafe(30) for name in ("pipeline", "ingest", "prefect")}
        environ = {
            **{name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH") if name in os.environ},
            "PYTHONPATH": str(PROJECT),
            "NO_PROXY": "*",
            "no_proxy": "*",
            "MODNET_STORE": f"s3://{BUCKET}",
            "AWS_ENDPOINT_URL": f"http://{addresses[0]}:{self._ports['s3']}",
            "AWS_ACCESS_KEY_ID": "pipeline",
            "AWS_SECRET_ACCESS_KEY": self._secrets["pipeline"],
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            **NO_STATISTICS,
            "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait take the cores from the others
            "RAY_worker_niceness": "0",  # by default what computes gives way to every other program of this machine
            "PYTHONUNBUFFERED": "1",
        }
        self.machines = {
            name: Machine(name, address, folder / name, environ)
            for name, address in zip(MACHINES, addresses, strict=True)
        }
        self.head = self.machines[HEAD]
        self.ray_address = f"{self.head.address}:{self._ports['ray']}"

        self._prefect = {
            "PREFECT_API_URL": f"http://{LOOPBACK}:{self._ports['prefect']}/api",
            "PREFECT_API_AUTH_STRING": self._secrets["prefect"],
            "PREFECT_SERVER_API_AUTH_STRING": self._secrets["prefect"],
            "PREFECT_HOME": str(self.head.folder / "prefect"),
        }

    def __enter__(self) -> Cluster:
        try:
            self._boot(self.head)
            self._start_services()
            self._start_ray(self.head, "--head", f"--port={self._ports['ray']}", "--num-cpus=0", "--no-monitor",
                            "--include-dashboard=false")  # fmt: skip
            for name in NODES:
                self.join(name)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for machine in self.machines.values():
            machine.kill()
        for port in self._ports.values():  # what a killed SeaweedFS leaves behind, wherever its files are
            for socket_file in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                socket_file.unlink(missing_ok=True)

    def join(self, name: str, **environ: str) -> None:
        """Switches a node on, which is off, and lets it join the cluster with one CPU; waits until it has."""
        node = self.machines[name]
        self._boot(node)
        self._start_ray(node, f"--address={self.ray_address}", "--num-cpus=1", **environ)

    def run_flow(self, config: CompressConfig) -> subprocess.Popen[bytes]:
        """Starts the flow compress on the head; `flow.log` there says where each candidate is computed."""
        (self.head.folder / "config.json").write_text(config.model_dump_json())
        own = {"RAY_ADDRESS": self.ray_address, "MODNET_KEYS": str(self.head.folder / "keys"), **self._prefect}
        return self.head.start([sys.executable, "-c", _RUN, str(self.head.folder / "config.json")], "flow.log", **own)

    def _boot(self, machine: Machine) -> None:
        """Gives a machine its namespaces, which a process that sleeps holds, and a cable to the head."""
        if not self.has_networks:
            return
        is_head = machine is self.head
        # Not by the head's mounts, which hide the nodes' folders.
        machine.enter = [] if is_head else [word for word in self.head.enter if word != "--mount"]
        make = ["unshare", *["--map-root-user"] * is_head, *_OWN_NAMESPACES]
        holder = machine.start([*make, "sleep", "infinity"])
        _wait(lambda: Path(f"/proc/{holder.pid}/comm").read_text() == "sleep\n", holder, machine.folder / "log")
        steps = [f"hostname {machine.name}", "ip link set lo up"]
        steps += [f"mount -t tmpfs none {one.folder}" for one in self.machines.values() if one is not machine]
        if is_head:
            steps += ["ip link add net0 type bridge"]
        else:
            cable = f"ip link delete {machine.name} 2>/dev/null || true; "  # what is left of the last one
            cable += f"ip link add {machine.name} type veth peer name net0 netns {holder.pid}"
            self.head.run(["sh", "-ec", f"{cable}; ip link set {machine.name} master net0 up"])
        steps += [f"ip address add {machine.address}/24 dev net0", "ip link set net0 up"]
        machine.enter = ["nsenter", f"--target={holder.pid}", "--user", "--preserve-credentials", *_OWN_NAMESPACES]
        machine.run(["sh", "-ec", "; ".join(steps)])

    def _start_services(self) -> None:
        """SeaweedFS, which nodes reach too, and Prefect, which they do not need."""
        folder = self.head.folder
        (folder / "identities.json").write_text(json.dumps(store_identities(self._secrets, [])))
        (folder / "data").mkdir()
        write_store_security(folder / "security")
        development_keys(folder / "keys")
        store = store_command(
            {name: self._ports[name] for name in STORE_LISTENERS},
            data=folder / "data",
            identities=folder / "identities.json",
            security=folder / "security",
            log_folder=folder,
            s3_address=self.head.address,
        )
        self.head.start(store, "store.log")
        self.head.start(prefect_command(self._ports["prefect"]), "prefect.log", **self._prefect)
        self.head.run([sys.executable, "-m", "infra.local_stack.wait_for_store"])

    def _start_ray(self, machine: Machine, *flags: str, **environ: str) -> None:
        ray = [str(Path(sys.executable).with_name("ray")), "start", "--block", f"--temp-dir={machine.folder / 'ray'}"]
        ray += [f"--node-ip-address={machine.address}", f"--object-store-memory={_OBJECT_STORE_BYTES}", *flags]
        log = machine.folder / "ray.log"
        log.unlink(missing_ok=True)
        process = machine.start(ray, log.name, **environ)
        _wait(lambda: "Ray runtime started" in log.read_text(), process, log)


def main() -> int:
    """Shows a run; the exit code is the flow's, 3 where something does not start, 130 when interrupted."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        with tempfile.TemporaryDirectory(prefix="modnet-cluster-", dir="/tmp") as folder:
            return _show_run(Path(folder))
    except StackError as error:
        print(error, file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _show_run(folder: Path) -> int:
    began = time.monotonic()
    with Cluster(folder) as cluster:
        kind = "each with a network, host name and mounts of its own" if cluster.has_networks else "all on loopback"
        print(f"a head and {len(NODES)} nodes, {kind}, are up after {time.monotonic() - began:.0f} s", flush=True)
        flow = cluster.run_flow(tiny_run(cluster.head.folder, compute=ONE_CPU))
        places = {machine.address: name for name, machine in cluster.machines.items()}
        ran_on, has_ended = {}, False
        with open(cluster.head.folder / "flow.log") as log:
            while not has_ended:
                has_ended = flow.poll() is not None  # asked before the last lines are read
                for line in log:
                    print(line, end="", flush=True)
                    if found := _STARTED.search(line):
                        ran_on[found[1]] = places[found[2]]
                time.sleep(0.2)
    for candidate, place in ran_on.items():
        print(f"candidate {candidate} was retrained on {place}")
    print(f"flow compress: exit code {flow.returncode}, after {time.monotonic() - began:.0f} s in all")
    return flow.returncode


def _wait(is_so: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Waits for what a process of this machine does.

    Raises:
        StackError: it has ended, or the time is up; shows the end of its log.
    """
    deadline = time.monotonic() + _READY_WITHIN_S
    while not is_so():
        if process.poll() is not None or time.monotonic() > deadline:
            raise StackError(f"{process.args!r}: did not start; the end of {log}:\n{log.read_text()[-3000:]}")
        time.sleep(0.1)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Lets a signal end this as Ctrl-C does, through `__exit__`."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
