"""People are told by a real Prefect server: of failed nights, nights without gain, silent devices, new champions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from infra import NO_STATISTICS
from infra.local_stack.automations import automate
from infra.local_stack.ports import choose_ports
from infra.local_stack.prefect_api import PrefectApi
from infra.local_stack.saved_report import address_of
from infra.local_stack.services import prefect_command

PROJECT = Path(__file__).resolve().parents[2]
AUTH = "modnet:a-password"
TOKEN = "token-of-the-webhook"
READY_WITHIN_S = 240.0
FLOWS = """
import sys
from datetime import UTC, datetime
from pathlib import Path

from prefect import flow

from flows.history import history
from infra.device.stores.folder_store import FolderStore
from infra.fleet.findings import Silent
from modnet.records import Decision
from tasks.telling import tell_new_champion, tell_no_gain, tell_silent_devices
from tests.unit.tasks.test_history import night


@flow(name="compress")
def compress():
    raise ValueError('of no use: "quoted" <b> and \\n a second line')


@flow(name="decide")
def decide():
    tell_new_champion(
        Decision(target="cpu-int8", at="20261130T080000.000000Z", by="decide", kind="promoted", before="aaaaaaaaaaaa",
                 after="bbbbbbbbbbbb", words='It is "faster".')
    )
    nights = [night(number, 0.5, 0.5) for number in (1, 2, 3)]
    tell_no_gain(nights, nights[-1].night_id)
    silent = Silent("kitchen", "cpu-int8", "bbbbbbbbbbbb", datetime(2026, 11, 29, tzinfo=UTC), None)
    tell_silent_devices(FolderStore(Path(sys.argv[1])), [silent])
    return "done"


assert decide() == "done"
print("page:", history())
try:
    compress()
except ValueError:
    print("all runs have ended")
"""


@dataclass
class Hook:
    """A webhook: what it was told, and how it answers."""

    address: str = ""
    told: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    answers: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook()
    found.answers.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == f"/{TOKEN}"
            assert self.headers["Content-Type"] == "application/json"
            found.told.append(json.loads(body))
            found.answers.wait(READY_WITHIN_S)
            self.send_response(found.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def handle(self) -> None:
            with suppress(OSError):  # who asked has gone meanwhile
                super().handle()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        found.address = f"http://127.0.0.1:{server.server_port}/{TOKEN}"
        yield found
        found.answers.set()
        server.shutdown()


@dataclass(frozen=True)
class Server:
    api: PrefectApi
    environ: dict[str, str]
    log: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Prefect's server as the stack starts it."""
    folder = tmp_path_factory.mktemp("prefect")
    port = choose_ports({"prefect": 0}, {})["prefect"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MODNET_"))}
    url = f"http://127.0.0.1:{port}/api"
    environ |= {"PREFECT_HOME": str(folder), "PREFECT_API_URL": url, "PREFECT_API_AUTH_STRING": AUTH}
    environ |= {"PREFECT_SERVER_API_AUTH_STRING": AUTH, "no_proxy": "127.0.0.1", "PYTHONPATH": str(PROJECT)}
    environ |= {"PREFECT_LOGGING_LEVEL": "DEBUG", "PREFECT_SERVER_LOGGING_LEVEL": "DEBUG"} | NO_STATISTICS
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(prefect_command(port), cwd=PROJECT, env=environ, stdout=file, stderr=file)
    try:
        api = PrefectApi(url, AUTH)
        wait_until(lambda: api.is_healthy() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield Server(api, environ, log)
    finally:
        process.terminate()
        process.wait(timeout=60)


def wait_until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def run(server: Server, folder: Path) -> str:
    """Runs that tell all that there is; returns what they print."""
    (folder / "telling.py").write_text(FLOWS)
    store = folder / "store"
    command = [sys.executable, str(folder / "telling.py"), str(store)]
    environ = server.environ | {"MODNET_STORE": store.as_uri()}
    done = subprocess.run(
        command, cwd=PROJECT, env=environ, capture_output=True, text=True, timeout=READY_WITHIN_S, check=False
    )
    assert "all runs have ended" in done.stdout, done.stderr
    return done.stdout + done.stderr


WANTED = {
    "modnet.champion.new": 'cpu-int8 runs bbbbbbbbbbbb, before aaaaaaaaaaaa (promoted): It is "faster".',
    "modnet.night.no-gain": "3 nights in a row found no better network for base b4534ba5e000.",
    "modnet.devices.silent": "1 device of cpu-int8, silent: kitchen",
    "prefect.flow-run.Failed": 'Flow run encountered an exception: ValueError: of no use: "quoted" <b> and \n a',
}


def test_people_are_told_of_all_four_and_the_address_stays_secret(server: Server, hook: Hook, tmp_path: Path) -> None:
    automate(server.api, hook.address)
    automate(server.api, hook.address)  # as another `make up` does
    printed = run(server, tmp_path)
    wait_until(lambda: len(hook.told) >= 4)
    told = {one["event"]: one["text"] for one in hook.told}
    assert told.keys() == WANTED.keys()
    for event, text in WANTED.items():
        assert text in told[event]
    assert all(one["at"].startswith("20") for one in hook.told)

    page = tmp_path / "store" / "history" / "history.html"
    assert f"page: {page.as_uri()}" in printed
    assert "No night has left anything" in page.read_text()
    (artifact,) = server.api._call("POST", "/artifacts/filter", {"artifacts": {"key": {"any_": ["history"]}}})
    assert address_of(artifact) == page.as_uri()

    crashed = server.api._call("POST", "/flow_runs/filter", {"limit": 1, "flows": {"name": {"any_": ["compress"]}}})[0]
    server.api.end(crashed["id"], "CRASHED", "its process is gone")
    wait_until(lambda: len(hook.told) >= 5)
    assert hook.told[-1]["event"] == "prefect.flow-run.Crashed"
    assert "its process is gone" in hook.told[-1]["text"]

    (block,) = server.api._call("POST", "/block_documents/filter", {})
    assert TOKEN not in json.dumps(block)
    seen = (printed, server.log.read_text(), json.dumps(server.api._call("POST", "/automations/filter", {})))
    assert [one for one in seen if TOKEN in one] == []


def test_no_run_waits_for_a_webhook_that_is_silent_or_refuses(server: Server, hook: Hook, tmp_path: Path) -> None:
    automate(server.api, hook.address)  # another port than before
    hook.answers.clear()
    run(server, tmp_path)  # it ends, and nobody was answered
    wait_until(lambda: hook.told)
    hook.status = 500
    hook.answers.set()
    wait_until(lambda: len(hook.told) >= 4)
    hook.told.clear()
    hook.status = 200
    (tmp_path / "again").mkdir()
    run(server, tmp_path / "again")
    wait_until(lambda: {one["event"] for one in hook.told} == WANTED.keys())


def test_an_empty_address_ends_the_telling(server: Server, hook: Hook, tmp_path: Path) -> None:
    automate(server.api, hook.address)
    automate(server.api, "")
    assert server.api._call("POST", "/automations/filter", {}) == []
    assert server.api._call("POST", "/block_documents/filter", {}) == []
    run(server, tmp_path)
    assert hook.told == []
