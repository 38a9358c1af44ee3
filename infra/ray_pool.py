"""Runs one function on Ray and waits for it: the only importer of ray.

Ray decides where a function computes, and nothing else: it is asked for one attempt, so that retries, limits and
records stay with the caller.

Without an address a Ray of this process is started on this machine. Its workers see the environment as it was at that
moment, which is how store URL and S3 credentials reach them (Ray writes a runtime environment into its logs, so secrets
do not go that way). Where the keys that sign are, and Prefect's secret, is kept from them. On the nodes of another
cluster, set `MODNET_STORE` and the `AWS_*` variables where Ray is started, and install the same wheel with its extra,
`modnet-edge[pipeline]`; this process must run on one of its nodes.
"""

from __future__ import annotations

import importlib.metadata
import logging
import math
import os
import pickle
import platform
import re
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import ray
from ray._private import node, ray_constants, services
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled, without types
from ray.exceptions import (
    AuthenticationError,
    LocalRayletDiedError,
    NodeDiedError,
    ObjectLostError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)
from ray.exceptions import OutOfMemoryError as RayOutOfMemoryError

from infra.device.errors import ClockError, DiskFullError, InfraError, SettingsError
from infra.device.logs import current_fields, log_json_to_stderr, process_fields
from infra.device.measuring.control_groups import cpu_quota, memory_limit
from infra.errors import OutOfMemoryError, ResourcesUnavailableError, WorkerLostError
from infra.ray_folder import ray_folder

Result = TypeVar("Result")

OBJECT_STORE_BYTES = 256 << 20  # results are records, and tensors travel by the object store of the pipeline
# A worker process is kept for a few calls, since importing torch takes it seconds, and then gives its memory back.
CALLS_PER_PROCESS = 8
_POLL_S = 0.5
_SETTLE_S = 15.0
_ANSWERS_WITHIN_S = 10.0
_AVOIDED_FOR_S = 600.0
# What decides a result besides Python and Ray, whose versions Ray compares by itself.
_DISTRIBUTIONS = ("modnet-edge", "torch", "numpy", "opencv-python-headless", "openvino", "nncf")
_OWN_VARIABLES = ("MODNET_KEYS", "PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING")
_OF_THE_NODE = (ClockError, DiskFullError)  # what another node may not have
_LOST = (WorkerCrashedError, NodeDiedError, LocalRayletDiedError, ObjectLostError)

_WRONG_TOKEN = (
    "Ray at {!r}: it refuses the token of this process: {}; set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or "
    "RAY_AUTH_TOKEN_PATH to the cluster's token"
)

_log = logging.getLogger(__name__)


class _Connection:
    """The link of this process to one Ray.

    It is made in a thread of its own that stays as long as the link: Linux ends the processes of a local Ray together
    with the thread that started them, and a task's thread is gone after the task.
    """

    def __init__(self, address: str | None) -> None:
        self.address = address
        self._close = threading.Event()
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._hold, args=(ready,), name="ray-connection", daemon=True)
        self._thread.start()
        ready.result()

    def close(self) -> None:
        self._close.set()
        self._thread.join()

    def _hold(self, ready: Future[None]) -> None:
        try:
            _init(self.address)
        except BaseException as error:
            ready.set_exception(error)
            return
        ready.set_result(None)
        self._close.wait()
        ray.shutdown()


_lock = threading.Lock()
_connection: _Connection | None = None
_calls = 0  # that compute on it
_avoided_until: dict[str, float] = {}  # of nodes by Ray's id, in monotonic seconds


def run_on_ray(
    function: Callable[..., Result],
    *args: Any,
    cpus: float = 1,
    gpus: float = 0,
    memory_gb: float = 0,
    scales: bool = False,
    timeout_s: float,
    address: str | None = None,
    name: str = "",
    on_start: Callable[[str], None] = lambda place: None,
) -> Result:
    """The function's result, computed by a Ray worker; may be called by many threads at once.

    Function and arguments travel by pickle, the function by its name in its module. The worker's OMP_NUM_THREADS is the
    number of CPUs asked for. Whenever this call ends before the function does, the worker is killed first. A node
    whose disk is full or whose clock is wrong gets nothing more for a while, as long as another node has room.

    Args:
        cpus: CPUs to set aside on one node.
        gpus: GPUs to set aside on one node.
        memory_gb: memory to set aside on one node, in 10⁹ bytes; 0 sets none aside, and limits nothing.
        scales: the cluster adds nodes when work waits, so that what no node can take is waited for.
        timeout_s: seconds that the function may compute; waiting for a free node is not counted.
        address: `host:port` of a cluster that this machine is a node of, or `auto`; None for a Ray of this process.
        name: what log lines and errors call this computation; by default the function's name.
        on_start: is told once where it computes, as `host at address (pid 7)`.

    Raises:
        ResourcesUnavailableError: no node of the cluster is large enough, and it does not scale.
        OutOfMemoryError: the worker was killed for the memory that it took.
        WorkerLostError: the worker or its node died, no cluster answers at the address, or the local Ray was not there
            in time.
        TimeoutError: it computed longer than `timeout_s`.
        CancelledError: somebody cancelled the computation in Ray.
        SettingsError: the worker has other versions than this process, the address cannot be used, the cluster wants
            another token, or a local Ray has no folder.
        Exception: whatever the function raised, with the worker's traceback as its cause; an InfraError names the node.
    """
    label = name or getattr(function, "__name__", "function")
    with _connected(address):
        room = Room(label, cpus, gpus, memory_gb * 1e9, scales)
        room.require()
        room.avoid({node for node, until in _avoided_until.items() if until > time.monotonic()})
        task = (_compute_on_gpu if gpus else _compute).options(
            name=label,
            num_cpus=cpus,
            num_gpus=gpus,
            memory=int(room.memory_bytes) or None,
            label_selector={"ray.io/node-id": f"!in({','.join(room.avoided)})"} if room.avoided else None,
        )
        stream = task.remote(pickle.dumps((function, args)), _versions(), current_fields())
        started_at = time.monotonic()
        place, node_id, pid = _next_item(stream, label, math.inf, on_wait=partial(_require_room, room, address))
        _log.info("%s: started on %s after %.1f s", label, place, time.monotonic() - started_at)
        on_start(place)
        try:
            result: Result = _next_item(
                stream, label, timeout_s, partial(_require_raylet, label, address, node_id, pid)
            )
        except _OF_THE_NODE:
            _avoided_until[node_id] = time.monotonic() + _AVOIDED_FOR_S
            raise
        return result


def places(cpus: float, address: str | None = None) -> int:
    """How many computations of so many CPUs the living nodes take side by side; errors as `run_on_ray`."""
    with _connected(address):
        return sum(int(has.get("CPU", 0) // cpus) for has in _nodes().values())


def shutdown() -> None:
    """Ends the connection, and with it the Ray that this process started; does nothing without one."""
    global _connection
    with _lock:
        if _connection is not None:
            _connection.close()
            _connection = None


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Connects this process, once, for a call. A local Ray that died is started anew once all calls on it have ended.

    Raises:
        SettingsError: connected already, to another address.
        WorkerLostError: the local Ray died, and other calls on it are ending just now.
    """
    global _connection, _calls
    with _lock:
        if _connection is not None and _is_local(_connection.address) and not _nodes():
            if _calls:
                raise WorkerLostError("the local Ray has died, and other computations on it are ending")
            _log.warning("the local Ray has died, and is started anew")
            _connection.close()
            _connection = None
        if _connection is None:
            _connection = _Connection(address)
        if _connection.address != address:
            raise SettingsError(
                f"Ray address {address!r}: this process is connected to {_connection.address!r} and can have one only"
            )
        _calls += 1
    try:
        yield
    finally:
        with _lock:
            _calls -= 1


def _is_local(address: str | None) -> bool:
    """A Ray of this process's own."""
    return address in (None, "local")


def _init(address: str | None) -> None:
    """Starts a local Ray or joins a cluster, and says in our words what Ray refuses."""
    if address is not None and address.startswith("ray://"):
        raise SettingsError(f"Ray address {address!r}: Ray Client is not supported, run on a node and give host:port")
    if address is not None and (found := re.fullmatch(r"\[?([^\[\]]+)\]?:(\d{1,5})", address)):
        try:  # Ray itself waits for minutes without a word
            socket.create_connection((found[1], int(found[2])), timeout=_ANSWERS_WITHIN_S).close()
        except (OSError, OverflowError) as error:
            raise WorkerLostError(f"Ray at {address!r}: no cluster answers: {error}") from error
    # `local` and not None: with None Ray would join whatever Ray was started last on this machine.
    local: dict[str, Any] = {"address": "local", "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    is_local = _is_local(address)
    # Whether ports are on all addresses of this machine or on loopback. Ray offers that on Windows and macOS, and
    # replaces an address of loopback that it is given.
    ray_constants.ENABLE_RAY_CLUSTER = not is_local
    if is_local:
        local["_temp_dir"] = str(ray_folder())
        local |= _limits()
        # Ray would keep one for all of this user's Rays in the home folder, which not every user can write.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        os.environ.pop("RAY_AUTH_MODE", None)  # unset, a new Ray asks for the token
        # It would offer figures of the cluster to everybody, at a port of its own.
        node.Node.start_monitor = lambda self: None  # type: ignore[method-assign]
        # Without a dashboard, this server only serves usage statistics: even when they are switched off, it asks cloud
        # providers' hosts where it is. None is what Ray goes on with when it does not start.
        services.start_api_server = lambda *args, **kwargs: (None, None)
    try:
        with _kept_from_workers():
            ray.init(**(local if is_local else {"address": address}), logging_level=logging.ERROR)
    except ConnectionError as error:
        if address is not None:
            _require_token(address)
        raise WorkerLostError(f"Ray at {address or 'local'!r}: no cluster answers: {error}") from error
    except AuthenticationError as error:
        raise SettingsError(_WRONG_TOKEN.format(address, _first_sentence(error))) from error
    except (RuntimeError, ValueError, OSError) as error:
        raise SettingsError(f"Ray at {address or 'local'!r}: cannot be used from this process: {error}") from error
    except Exception as error:  # what Ray raises when one of its processes is not there within 30 s
        ray.shutdown()
        raise WorkerLostError(
            f"Ray at {address or 'local'!r} did not start in time, as on a machine that is very busy: {error}"
        ) from error


def _require_token(address: str) -> None:
    """Says that the cluster wants another token, where that is why it does not answer: Ray tells that its log alone.

    Raises:
        SettingsError: it does.
    """
    try:
        GcsClient(address=address)
    except AuthenticationError as error:
        raise SettingsError(_WRONG_TOKEN.format(address, _first_sentence(error))) from error
    except Exception as error:  # it does not answer at all, which the caller says
        _log.debug("Ray at %r: %s", address, error)


def _first_sentence(error: Exception) -> str:
    return str(error).partition(". ")[0]


@contextmanager
def _kept_from_workers() -> Iterator[None]:
    """Takes what is only this process's own out of the environment that a local Ray hands on to its workers."""
    kept = {name: os.environ.pop(name) for name in _OWN_VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def _limits() -> dict[str, Any]:
    """What a container or a service leaves a local Ray, which by itself looks at the whole machine's groups alone."""
    cores = len(os.sched_getaffinity(0))
    limits: dict[str, Any] = {"num_cpus": max(1, math.floor(min(cores, cpu_quota() or cores)))}
    if (limit := memory_limit()) is not None:
        limits["_memory"] = max(1, limit - OBJECT_STORE_BYTES)
    return limits


class Room:
    """What a computation needs of one node."""

    def __init__(self, label: str, cpus: float, gpus: float, memory_bytes: float, scales: bool) -> None:
        self._label = label
        self._wanted = {"CPU": cpus, "GPU": gpus, "memory": memory_bytes}
        self.memory_bytes = memory_bytes
        self._scales = scales
        self._has_told = False
        self.avoided: set[str] = set()

    def avoid(self, node_ids: set[str]) -> None:
        """Leaves these nodes out, unless no other is large enough."""
        self.avoided = node_ids if self._able(_nodes()) - node_ids else set()

    def require(self) -> None:
        """Refuses what no node could ever give, busy or not: Ray would wait for it without end.

        Raises:
            ResourcesUnavailableError: no node has that much, and the cluster does not add any.
            WorkerLostError: those that have it are gone, but for nodes that are left out; or all nodes are, and the
                cluster does not add any.
        """
        nodes = _nodes()
        able = self._able(nodes)
        if able - self.avoided:
            return
        if able or not (nodes or self._scales):
            raise WorkerLostError(f"{self._label}: the nodes that it waited for are gone")
        have = "; ".join(map(_in_words, nodes.values())) or "no node"
        words = f"{self._label}: asked for {_in_words(self._wanted)} on one node, the Ray cluster has {have}"
        if not self._scales:
            raise ResourcesUnavailableError(words)
        if not self._has_told:
            self._has_told = True
            _log.warning("%s; waiting for it to add a node", words)

    def _able(self, nodes: Mapping[str, Mapping[str, float]]) -> set[str]:
        return {
            node
            for node, has in nodes.items()
            if all(has.get(name, 0) >= wanted for name, wanted in self._wanted.items())
        }


def _nodes() -> dict[str, dict[str, float]]:
    """What each living node has, by its id."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return {node["NodeID"]: node["Resources"] for node in nodes if node["Alive"]}


def _in_words(resources: Mapping[str, float]) -> str:
    cpus, gpus, memory = (resources.get(name, 0) for name in ("CPU", "GPU", "memory"))
    return f"{cpus:g} CPUs, {gpus:g} GPUs and {memory / 1e9:.3g} GB"


def _versions() -> dict[str, str]:
    found = {}
    for name in _DISTRIBUTIONS:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _computed(call: bytes, versions: dict[str, str], fields: dict[str, str]) -> Iterator[Any]:
    """On the worker: says where it runs, then yields the function's result.

    The call stays pickled until the versions are known to agree: reading it imports what the function needs.
    """
    process_fields.clear()  # of the call before
    process_fields.update(fields)
    log_json_to_stderr()
    address = services.get_node_ip_address()  # type: ignore[no-untyped-call]
    place = f"{platform.node()} at {address} (pid {os.getpid()})"
    yield place, ray.get_runtime_context().get_node_id(), os.getpid()
    here = _versions()
    if here != versions:
        differ = ", ".join(
            f"{name} {here.get(name, 'missing')} instead of {versions.get(name, 'none')}"
            for name in sorted(here.keys() | versions.keys())
            if here.get(name) != versions.get(name)
        )
        raise SettingsError(f"Ray worker on {place}: has {differ}; install the same wheel on every node")
    function, args = pickle.loads(call)
    try:
        result = function(*args)
    except InfraError as error:
        raise type(error)(f"on {place}: {error}") from error
    yield result


_compute = ray.remote(max_retries=0, max_calls=CALLS_PER_PROCESS)(_computed)
# CUDA keeps its GPU, and memory of it, for as long as its process lives, whatever Ray gives the next call.
_compute_on_gpu = ray.remote(max_retries=0, max_calls=1)(_computed)


def _next_item(stream: Any, label: str, timeout_s: float, on_wait: Callable[[], None] | None = None) -> Any:
    """The next thing that the worker yields; `on_wait` is called while there is none.

    Only while there is none is the worker killed. One whose function has raised is about to report its end, and Ray
    aborts this process when a task ends that it has counted as cancelled.
    """
    deadline = time.monotonic() + timeout_s
    try:
        while not ray.wait([stream], timeout=min(_POLL_S, max(0.0, deadline - time.monotonic())), fetch_local=False)[0]:
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{label}: not finished after {timeout_s:g} s of computing on Ray")
            if on_wait is not None:
                on_wait()
    except BaseException:
        _kill(stream)
        raise
    try:
        return ray.get(next(stream))
    except RayTaskError as error:
        # Ray raises a class that it made up for the occasion; callers get the function's own exception.
        raise error.cause from error
    except RayOutOfMemoryError as error:
        raise OutOfMemoryError(f"{label}: its Ray worker was killed for memory: {error}") from error
    except TaskCancelledError as error:
        raise CancelledError(f"{label}: cancelled in Ray") from error
    except _LOST as error:
        raise WorkerLostError(f"{label}: its Ray worker was lost: {error}") from error


def _require_room(room: Room, address: str | None) -> None:
    """As `Room.require`; no cluster gives a Ray of this process's own another node, whatever the caller hopes.

    Raises:
        WorkerLostError: that Ray has died, or what `Room.require` says.
    """
    if _is_local(address) and not _nodes():
        raise WorkerLostError("this process's own Ray has died, and its computations with it")
    room.require()


def _require_raylet(label: str, address: str | None, node_id: str, pid: int) -> None:
    """Ends the worker of a local Ray whose raylet has died: nobody else does, and the next try would compute beside it.

    Raises:
        WorkerLostError: it has died.
    """
    if _is_local(address) and node_id not in _nodes():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        raise WorkerLostError(f"{label}: its Ray worker was lost: the raylet of this process's own Ray has died")


def _kill(stream: Any) -> None:
    """Ends the worker of an unfinished computation and waits until Ray has settled it."""
    ray.cancel(stream, force=True)
    ray.wait([stream.completed()], timeout=_SETTLE_S, fetch_local=False)
