"""A bundle says what there is and what is broken, and no secret that was planted anywhere is in it."""

from __future__ import annotations

import io
import json
import os
import threading
import zipfile
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from infra.ingest.devices import DeviceRegistry
from infra.local_stack import support
from infra.local_stack.processes import _read
from infra.local_stack.scrubbing import Scrubber
from infra.local_stack.state import StackState
from infra.local_stack.store_identities import store_identities
from infra.local_stack.store_security import write_store_security
from infra.local_stack.support import support_bundle
from infra.publishing.keys import development_keys

PASSWORD = 'pa"ss/wörd+1'
ENVIRON = {
    "AWS_ACCESS_KEY_ID": "AKIAABCDEFGHIJKLMNOP",
    "AWS_SECRET_ACCESS_KEY": "aws/secret+of/the=caller",
    "AWS_SESSION_TOKEN": "session-token-of-the-caller",
    "PREFECT_API_AUTH_STRING": f"admin:{PASSWORD}",
    "PREFECT_API_KEY": "pnu_key-of-prefect",
    "PREFECT_API_DATABASE_CONNECTION_URL": "postgresql+asyncpg://prefect:db-password@db/prefect",
    "RAY_AUTH_TOKEN": "token-of-a-ray-cluster",
    "RAY_AUTH_MODE": "token",
    "HTTPS_PROXY": "http://someone:proxy-password@proxy.example:3128",
    "GITHUB_TOKEN": "ghp_of-something-else",
    "MODNET_LOG": "json",
    "MODNET_WEBHOOK_URL": "https://hooks.example.org/T0/secret-of-the-webhook",
    "EDITOR": "name-of-an-editor",
}
SECRETS = [
    *("aws/secret+of/the=caller", "session-token-of-the-caller", PASSWORD),
    *("pnu_key-of-prefect", "db-password", "token-of-a-ray-cluster", "proxy-password", "ghp_of-something-else"),
    "T0/secret-of-the-webhook",
]
FOREIGN = """
Authorization: Basic Zm9yZWlnbi1iYXNpYw==
authorization: Bearer foreign-bearer-token
GET /modnet/runs/a/report.html?X-Amz-Credential=foreign-credential%2Fx&X-Amz-Signature=foreign-signature HTTP/1.1
dataset https://someone:foreign-password@example.com/portraits.zip cannot be read
environ({'GITLAB_TOKEN': 'foreign-gitlab', 'PATH': '/bin'}) {"password": "foreign json"}
-----BEGIN PRIVATE KEY-----
Zm9yZWlnbi1rZXktb25l
-----END PRIVATE KEY-----
"""  # of nobody whom this machine knows
FOREIGN_SECRETS = [
    *("Zm9yZWlnbi1iYXNpYw==", "foreign-bearer-token", "foreign-credential", "foreign-signature", "foreign-password"),
    *("AKIAABCDEFGHIJKLMNOP", "foreign-gitlab", "foreign json", "Zm9yZWlnbi1rZXktb25l"),
]


@pytest.fixture
def prefect() -> Iterator[tuple[int, list[str]]]:
    """Port of a server that says of its runs what it is told to, among other things secrets."""
    told: list[str] = []
    run = {
        **dict.fromkeys(("deployment_id", "infrastructure_pid"), "x"),
        "id": "r1",
        "name": "brave-mole",
        "state_type": "FAILED",
        "expected_start_time": "2026-11-30T02:00:00+00:00",
        "start_time": "2026-11-30T02:00:01+00:00",
        "end_time": "2026-11-30T03:00:00+00:00",
    }

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
            said = "\n".join(told)
            answer: Any = True
            if self.path == "/api/flow_runs/filter":
                is_child = "parent_flow_run_id" in sent["flow_runs"]
                answer = [] if is_child else [{**run, "state": {"name": "Failed", "message": said}}]
            if self.path == "/api/artifacts/filter":
                answer = [{"flow_run_id": "r1", "data": json.dumps([{"computation": "retrain a", "how": said}])}]
            if self.path == "/api/logs/filter":
                answer = [{"timestamp": "2026-11-30T02:59:00Z", "level": 40, "message": said}]
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield server.server_port, told
        server.shutdown()


def read(content: bytes) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name).decode() for name in archive.namelist()}


def forms(secret: str) -> set[str]:
    coded = {b64encode(one.encode()).decode() for one in (secret, f"admin:{secret}")}
    return {secret, json.dumps(secret)[1:-1], quote(secret), quote(secret, safe=""), repr(secret)[1:-1], *coded}


def planted(folder: Path, port: int) -> list[str]:
    """Fills a folder as a stack does, and returns every secret in it."""
    folder.mkdir(mode=0o700)
    secrets = {name: f"{name}-secret-of-the-stack" for name in ("pipeline", "ingest", "prefect")}
    StackState(secrets, {"prefect": port}, {"prefect": _read(os.getpid())[0]}, "d" * 64, str(folder)).write(
        folder / "stack.json"
    )
    registry = DeviceRegistry(folder / "devices.json")
    devices = [registry.add("kitchen-1"), registry.add("attic-1", ("AKIAZZZZZZZZZZZZZZZZ", "an/aws+secret"))]
    (folder / "identities.json").write_text(json.dumps(store_identities(secrets, devices)))
    write_store_security(folder / "store-security")
    security = (folder / "store-security" / "security.toml").read_text()
    signing = [line.split('"')[1] for line in security.splitlines() if line.startswith('key = "')]
    development_keys(folder / "keys")
    pems = [*(folder / "keys").glob("*.pem"), folder / "store-security" / "key.pem"]
    lines = [line for path in pems for line in path.read_text().splitlines() if line and "-----" not in line]
    assert len(lines) > 5
    of_files = [
        *secrets.values(),
        *(one.secret for one in devices),
        *(one for one in signing if "/" not in one),
        *lines,
    ]
    assert len(set(of_files)) == len(of_files)
    return of_files


def test_no_planted_secret_is_in_it(tmp_path: Path, prefect: tuple[int, list[str]]) -> None:
    port, told = prefect
    folder = tmp_path / "stack"
    token_file = tmp_path / "ray-token"
    token_file.write_text("token-of-a-file\n")
    secrets = [*SECRETS, *planted(folder, port), "token-of-a-file"]
    environ = {**ENVIRON, "RAY_AUTH_TOKEN_PATH": str(token_file)}
    said = [f"{form} and on" for secret in secrets for form in sorted(forms(secret))]
    said += [f"{name}={value}" for name, value in environ.items()] + [FOREIGN, "a word that stays"]
    told += said
    (folder / "log").mkdir()
    (folder / "log" / "worker.log").write_text("\n".join(said))
    (folder / "log" / "long.log").write_text("x" * support.LOG_BYTES + "\n".join(["", *said]))
    (folder / "log" / "link.log").symlink_to(folder / "stack.json")
    (folder / "parameters.json").write_text(json.dumps({"dataset": {"source": "https://u:foreign-password@h/p.zip"}}))
    (folder / "agent").mkdir()
    (folder / "agent" / "last_round.json").write_text(json.dumps({"error": "; ".join(said)}))

    content, missing = support_bundle(folder, environ)
    files = read(content)
    assert missing == []
    found = {
        (name, form)
        for name, text in files.items()
        for secret in [*secrets, *FOREIGN_SECRETS]
        for form in ({secret} if secret in FOREIGN_SECRETS else forms(secret))
        if form in text
    }
    assert found == set()

    assert {"log/worker.log", "log/long.log", "parameters.json", "agent/last_round.json"} <= files.keys()
    assert "log/link.log" not in files
    for name in ("log/worker.log", "log/long.log", "runs.json", "runs-log.txt", "agent/last_round.json"):
        assert "a word that stays" in files[name], name
    (row,) = json.loads(files["runs.json"])
    assert (row["name"], row["state"], row["timeline"][0]["computation"]) == ("brave-mole", "Failed", "retrain a")
    assert "kitchen-1 added " in files["devices.txt"]
    assert "EDITOR" not in files["settings.txt"]
    assert "AWS_SECRET_ACCESS_KEY=(removed)" in files["settings.txt"]
    assert "HTTPS_PROXY=http://(removed)@proxy.example:3128" in files["settings.txt"]
    assert "RAY_AUTH_MODE=token" in files["settings.txt"]
    assert "ok     Prefect    answers that it is well" in files["checks.txt"]
    assert "NOT OK services   store, worker, ingest, agent: not running" in files["checks.txt"]
    assert "prefect  runs (pid " in files["stack.txt"]
    assert "modnet-edge==" in files["versions.txt"]


def test_where_nothing_was_ever_started_each_part_says_so(tmp_path: Path) -> None:
    content, missing = support_bundle(tmp_path / "none", {})
    files = read(content)
    assert missing == ["runs.json", "runs-log.txt"]
    assert files["runs.json"] == "not collected: ConnectionError: Prefect's server does not run\n"
    assert files["processes.txt"] == "no process of this stack runs\n"
    assert "NOT OK disk       FileNotFoundError" in files["checks.txt"]
    assert not (tmp_path / "none").exists()


def test_a_broken_part_says_why_and_its_secrets_stay_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "stack"
    secrets = planted(folder, 0)
    state = (folder / "stack.json").read_text()
    (folder / "stack.json").write_text(state[: state.index("prefect-secret") + 20])  # cut off within a secret
    devices = (folder / "devices.json").read_text()
    (folder / "devices.json").write_text(devices.replace("{", "[", 1))
    (folder / "log").mkdir()
    (folder / "log" / "worker.log").write_text("\n".join([*secrets, "\x00\x1b[2J\udcff"]), errors="surrogateescape")
    (folder / "keys" / "root.json").write_text("{")
    monkeypatch.setenv("PATH", "")  # no df
    monkeypatch.setattr(support, "_ENDS_WITHIN_S", 1.0)  # a cluster that nobody answers for
    content, missing = support_bundle(folder, {"MODNET_KEYS": str(tmp_path / "gone"), "RAY_ADDRESS": "h:1"})
    files = read(content)
    assert {"stack.txt", "disk.txt", "devices.txt", "runs.json"} <= set(missing)
    assert "not the state of a stack" in files["stack.txt"]
    known = [secret for secret in secrets if "prefect-secret" not in secret]
    assert [secret for secret in known if any(secret in text for text in files.values())] == []
    assert "prefect-secret-of-th" not in "".join(files.values())


def test_a_scrubber_leaves_words_alone() -> None:
    text = 'the token of this process is wrong, key "a", https://example.com/a?page=2 at 12:30, true and basic needs'
    assert Scrubber(["", "true", "no"])(text) == text
