"""A real stack with Ray at work, and another user of this machine who tries each of its doors without a secret.

As root that is `nobody`. Otherwise it is the same user without the secrets, for whom sockets and files say nothing.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import pwd
import re
import shutil
import socket
import ssl
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from infra.device.stores.object_store import ObjectStore, open_store
from infra.local_stack.environments import MARKER
from infra.local_stack.processes import processes_with
from infra.local_stack.stack import Stack
from infra.local_stack.support import support_bundle

pytestmark = pytest.mark.slow

FLOW = """
import os, time
from prefect import flow
from infra.ray_pool import run_on_ray

@flow
def hold():
    run_on_ray(os.getpid, timeout_s=120)
    time.sleep(600)
"""
DEPLOYMENTS = """
name: doors
deployments:
  - name: on-demand
    entrypoint: hold.py:hold
    work_pool: {name: modnet}
"""
CONTENT = "the-content-of-an-object"
NAME = "name-of-an-object"
CHANGED = "changed-by-another-user"

# What is asked of every port, whatever listens there.
READS = f"""
/ /status /healthz /metrics /debug/vars /debug/pprof/ /ui/index.html /cluster/status /stats/counter
/dir/status /dir/lookup?volumeId=1 /dir/assign /vol/status /topics/ /etc/ /buckets/ /buckets/modnet/releases/{NAME}
/modnet /modnet/releases/{NAME} /ui-settings /docs /redoc /openapi.json /api/docs /api/openapi.json /api/metrics
/api/health /api/ready /api/version /api/admin/settings /api/block_types/slug/secret
"""
PREFECTS = ("flows", "flow_runs", "deployments", "logs", "artifacts", "variables", "block_documents")
WRITES = (
    *(("PUT", f"{bucket}/releases/{CHANGED}") for bucket in ("/modnet", "/buckets/modnet")),
    *(("DELETE", f"{bucket}/releases/{NAME}") for bucket in ("/modnet", "/buckets/modnet")),
    *(("POST", path) for path in ("/modnet/", "/submit", "/vol/grow?count=1", "/dir/assign", "/get_runtime_envs_info")),
    *(("POST", f"/api/{one}/{what}") for one in PREFECTS for what in ("", "filter")),
    *(("POST", path) for path in ("/api/events", "/api/admin/database/clear", "/get_or_create_runtime_env")),
)
CALLS = """
/master_pb.Seaweed/VolumeList /filer_pb.SeaweedFiler/ListEntries /volume_server_pb.VolumeServer/VolumeServerStatus
/ray.rpc.NodeInfoGcsService/GetAllNodeInfo /ray.rpc.InternalKVGcsService/InternalKVKeys
/ray.rpc.ActorInfoGcsService/GetAllActorInfo /ray.rpc.JobInfoGcsService/GetAllJobInfo
/ray.rpc.NodeManagerService/GetNodeStats /ray.rpc.ObjectManagerService/Pull
/ray.rpc.CoreWorkerService/PushTask /ray.rpc.CoreWorkerService/GetCoreWorkerStats
"""  # of gRPC: none is answered but by status 16 (unauthenticated) or 12 (unknown here)
# docs/security.md says what these show; nothing else gives a good answer.
OPEN = {
    "prefect": {"/", "/api/health", "/api/ready", "/ui-settings", "/docs", "/redoc", "/openapi.json"},
    "s3": {"/status", "/healthz"},
}
SOCKETS = "events/in events/out logs/out task_runs/subscriptions/scheduled work_pools/modnet/workers/connect"
ANY = ssl._create_unverified_context()  # made while certificates of this Python can be read, see `_as_another_user`


@dataclass(frozen=True)
class Doors:
    """A stack that holds a secret object and computes with Ray, and where it listens: ports by address, and sockets."""

    stack: Stack
    store: ObjectStore
    ports: dict[tuple[str, int], str]
    sockets: list[str]

    @property
    def prefect(self) -> str:
        return self.stack.ui_url.removeprefix("http://")


@pytest.fixture(scope="module")
def doors() -> Iterator[Doors]:
    project = Path(tempfile.mkdtemp(prefix="doors-"))
    project.chmod(0o755)  # only the stack's own mode shall count
    (project / "hold.py").write_text(FLOW)
    (project / "prefect.yaml").write_text(DEPLOYMENTS)
    (project / ".modnet" / "seaweedfs").mkdir(parents=True)
    (project / ".modnet").chmod(0o755)  # as earlier versions left it
    stack = Stack(project / ".modnet", project, os.environ, targets=["cpu-fp32"])
    try:
        stack.up()
        with pytest.MonkeyPatch.context() as environment:
            for name, value in stack.pipeline_environ().items():
                environment.setenv(name, value)
            store = open_store("s3://modnet")
        store.put(f"releases/{NAME}", CONTENT.encode())
        run = stack.api.start_run("hold/on-demand", {})
        deadline = time.monotonic() + 120
        while not {"raylet", "ray::"} <= {re.sub("::.*", "::", name) for name in _listening(stack)[0].values()}:
            assert time.monotonic() < deadline, stack.api.state(run)
            time.sleep(1)
        time.sleep(3)  # Ray's worker and its agents come one by one
        doors = Doors(stack, store, *_listening(stack))
        list(_good_answers("127.0.0.1", stack._state.ports["prefect"]))  # imports what `nobody` may be unable to
        yield doors
    finally:
        stack.down()
        shutil.rmtree(project)


def test_all_listens_on_loopback_and_all_of_it_is_tried(doors: Doors) -> None:
    assert {address for address, _ in doors.ports} == {"127.0.0.1"}
    names = list(doors.ports.values())
    wanted = {"s3", "master", "volume", "filer", "prefect", "gcs_server", "raylet", "ray::RuntimeEnvAgent"}
    assert wanted | {f"{name}.grpc" for name in ("s3", "master", "volume", "filer")} <= set(names)
    assert any("seaweedfs-filer" in path for path in doors.sockets)
    assert any("plasma_store" in path for path in doors.sockets)


def test_another_user_is_answered_by_no_port(doors: Doors) -> None:
    good = _as_another_user(lambda: [one for place in doors.ports for one in _good_answers(*place)])
    told = [*_secrets(doors), CONTENT, NAME, str(doors.stack.folder)]
    answers = [(doors.ports[address, port], what, text) for address, port, what, text in good]
    assert [answer for answer in answers if answer[1] not in OPEN.get(answer[0], ())] == []
    assert [answer for answer in answers if any(one in answer[2] for one in told)] == []
    assert doors.store.get(f"releases/{NAME}") == CONTENT.encode()
    assert not doors.store.exists(f"releases/{CHANGED}")


def test_another_user_runs_no_command_by_prefect(doors: Doors, tmp_path: Path) -> None:
    """A deployment whose pull step is a command, and a run of it: by name, by the UI's calls, and by a wrong secret."""
    command = {"prefect.deployments.steps.run_shell_script": {"script": f"touch {tmp_path / 'ran'}"}}
    body = {"name": CHANGED, "flow_id": str(uuid4()), "pull_steps": [command], "work_pool_name": "modnet"}

    def attack() -> list[int]:
        answers = []
        for auth in (None, ("admin", "admin"), ("", ""), ("modnet", "")):
            with httpx.Client(base_url=f"http://{doors.prefect}/api", auth=auth, verify=ANY, trust_env=False) as client:
                answers.append(client.post("/flows/", json={"name": CHANGED}).status_code)
                answers.append(client.post("/deployments/", json=body).status_code)
                found = client.get("/deployments/name/hold/on-demand")
                answers.append(found.status_code)
        return answers

    assert set(_as_another_user(attack)) == {401}
    assert doors.stack.api._call("POST", "/flows/filter", {"flows": {"name": {"any_": [CHANGED]}}}) == []


def test_another_user_hears_and_says_nothing_by_prefects_websockets(doors: Doors) -> None:
    def attack() -> list[str]:
        heard = []
        firsts = ({"type": "auth", "token": "guessed"}, {"type": "auth", "token": None}, {"type": "filter"})
        for path, subprotocols, first in product(SOCKETS.split(), (None, [Subprotocol("prefect")]), firsts):
            url = f"ws://{doors.prefect}/api/{path}"
            with suppress(WebSocketException), connect(url, subprotocols=subprotocols, proxy=None) as websocket:
                websocket.send(json.dumps(first))
                websocket.send(json.dumps({"type": "filter", "filter": {}}))
                try:
                    heard.append(f"{path} {first}: {websocket.recv(timeout=10)!r:.200}")
                except TimeoutError:
                    heard.append(f"{path} {first}: stays open")
        return heard

    assert _as_another_user(attack) == []
    url = f"ws://{doors.prefect}/api/events/out"
    with connect(url, subprotocols=[Subprotocol("prefect")], proxy=None) as websocket:
        websocket.send(json.dumps({"type": "auth", "token": doors.stack._state.secrets["prefect"]}))
        assert json.loads(websocket.recv(timeout=20)) == {"type": "auth_success"}


def test_prefect_serves_this_machines_names_alone_and_no_other_origin_is_permitted(doors: Doors) -> None:
    def attack() -> list[tuple[int, str | None]]:
        with httpx.Client(base_url=f"http://{doors.prefect}", verify=ANY, trust_env=False) as client:
            answers = [client.get("/api/health", headers={"Host": "localhost"})]
            answers += [client.get(path, headers={"Host": "evil.example"}) for path in ("/api/health", "/ui-settings")]
            for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
                asks = {"Origin": origin, "Access-Control-Request-Method": "POST"}
                answers.append(client.options("/api/deployments/", headers=asks))
                answers.append(client.get("/api/health", headers={"Origin": origin}))
                answers.append(client.options(f"{doors.stack.store_endpoint}/modnet/{NAME}", headers=asks))
        return [(answer.status_code, answer.headers.get("access-control-allow-origin")) for answer in answers]

    named, asked = [[200, None], [400, None], [400, None]], [[400, None], [200, None], [403, None]]
    assert _as_another_user(attack) == named + asked * 3


def test_another_user_enters_no_socket(doors: Doors) -> None:
    if os.geteuid():
        pytest.skip("not root: there is no other user to be")

    def attack() -> list[str]:
        entered = []
        for path in doors.sockets:
            with suppress(OSError), socket.socket(socket.AF_UNIX) as door:
                door.connect(path)
                entered.append(path)
        return entered

    assert _as_another_user(attack) == []


def test_another_user_reads_no_file_and_no_secret_of_a_process(doors: Doors) -> None:
    if os.geteuid():
        pytest.skip("not root: there is no other user to be")
    files = [str(path) for path in doors.stack.folder.rglob("*")]
    assert len(files) > 20
    folders = {str(path) for socket_file in doors.sockets for path in [Path(socket_file).parent]} - {"/tmp"}
    pids = _pids(doors.stack)

    def attack() -> tuple[list[str], list[str]]:
        opened, said = [], []
        for path in [str(doors.stack.folder), *files, *folders, *(f"/proc/{pid}/environ" for pid in pids)]:
            with suppress(OSError):
                os.close(os.open(path, os.O_RDONLY))
                opened.append(path)
        for pid in pids:
            with suppress(OSError):
                said.append(Path(f"/proc/{pid}/cmdline").read_text(errors="replace"))
        return opened, said

    opened, said = _as_another_user(attack)
    assert opened == []
    assert not [secret for secret in _secrets(doors) for line in said if secret in line]


def test_a_support_bundle_has_all_parts_and_no_secret(doors: Doors) -> None:
    content, missing = support_bundle(doors.stack.folder, os.environ)
    assert missing == []
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    assert {"log/worker.log", "log/prefect.log", "metrics/ingest.prom", "runs.json"} <= files.keys()
    assert "raylet" in files["processes.txt"]
    assert [secret for secret in _secrets(doors) for text in files.values() if secret in text] == []


def _as_another_user(attack: Callable[[], Any]) -> Any:
    """What the function returns, as JSON, in a child process that has become `nobody` where this one is root."""
    here, there = multiprocessing.Pipe(duplex=False)

    def child() -> None:
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.setgroups([])
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
        there.send(json.dumps(attack()))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    there.close()
    try:
        return json.loads(here.recv())
    finally:
        process.join()


def _good_answers(address: str, port: int) -> Iterator[tuple[str, int, str, str]]:
    """What a port answers with success: address, port, what was asked, text of the answer."""
    for scheme in ("http", "https"):
        url = f"{scheme}://{address}:{port}"
        with httpx.Client(base_url=url, verify=ANY, trust_env=False, timeout=5) as client:
            for method, path in (*(("GET", path) for path in READS.split()), *WRITES):
                with suppress(httpx.HTTPError):
                    content = None if method in ("GET", "DELETE") else b"{}"
                    answer = client.request(method, path, content=content)
                    if answer.status_code < 400:
                        yield address, port, path if method == "GET" else f"{method} {path}", answer.text
        with httpx.Client(http1=False, http2=True, base_url=url, verify=ANY, trust_env=False, timeout=5) as client:
            for call in CALLS.split():
                with suppress(httpx.HTTPError):
                    headers = {"content-type": "application/grpc", "te": "trailers"}
                    answer = client.post(call, content=bytes(5), headers=headers)
                    if answer.headers.get("grpc-status") not in ("16", "12"):
                        yield address, port, call, answer.text


def _secrets(doors: Doors) -> list[str]:
    ray_tokens = {
        variable.partition(b"=")[2].decode()
        for pid in _pids(doors.stack)
        for variable in _environ(pid)
        if variable.startswith(b"RAY_AUTH_TOKEN=")
    }
    assert ray_tokens
    return [*doors.stack._state.secrets.values(), *ray_tokens]


def _environ(pid: int) -> list[bytes]:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return []


def _pids(stack: Stack) -> list[int]:
    """Processes of the stack, and all that they have started; some write their title over their environment."""
    found = {process.pid for process in processes_with(MARKER, str(stack.folder))}
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            parents[int(folder.name)] = int((folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    while more := {pid for pid, parent in parents.items() if parent in found and pid not in found}:
        found |= more
    return sorted(found)


def _listening(stack: Stack) -> tuple[dict[tuple[str, int], str], list[str]]:
    """TCP ports with the name of what listens there, and paths of Unix sockets, from /proc (proc(5))."""
    owners = {}
    for pid in _pids(stack):
        with suppress(FileNotFoundError, ProcessLookupError):
            title = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")[0].split(" ")[0]
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(FileNotFoundError):
                    if found := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(descriptor)):
                        owners[found[1]] = Path(title).name
    names = {port: name for name, port in stack._state.ports.items()}
    ports = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in owners:
                address, port = fields[1].split(":")
                # The kernel writes words of 32 bits in its own order, of which the last is the IPv4 address.
                words = [bytes.fromhex(address[place : place + 8])[::-1] for place in range(0, len(address), 8)]
                is_v4 = len(words) == 1 or words[:3] == [bytes(4), bytes(4), b"\0\0\xff\xff"]
                text = socket.inet_ntoa(words[-1]) if is_v4 else socket.inet_ntop(socket.AF_INET6, b"".join(words))
                ports[text, int(port, 16)] = names.get(int(port, 16), owners[fields[9]])
    sockets = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return ports, [one[7] for one in sockets if len(one) > 7 and int(one[3], 16) & 0x10000 and one[6] in owners]
