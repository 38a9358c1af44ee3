"""`enrol` against an ingest that is well, that lies, and that is none. tests/integration has the real one."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from infra.device.__main__ import main
from infra.device.cli.enrol import enrol
from infra.device.documents.grant import Grant, pieces
from infra.device.errors import (
    ContractError,
    InfraError,
    SettingsError,
    StoreRefusesError,
    StoreUnavailableError,
    UntrustedError,
)

ROOT = b'{"signed": {"_type": "root"}}'
SECRET = "0123456789abcdef" * 2
TOKEN = SECRET + hashlib.sha256(ROOT).hexdigest()[:32]
GRANT = Grant(
    device="kitchen-1",
    store="s3://modnet",
    endpoint="http://127.0.0.1:8333",
    region=None,
    key_id="device-kitchen-1",
    secret="a+b/c=",
    targets=("cpu-int8",),
    root_pieces=pieces(ROOT),
)


class _Server(HTTPServer):
    answer: tuple[int, bytes] = (200, GRANT.to_json())
    asked: list[tuple[str, bytes]]


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        self.server.asked.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        status, body = self.server.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Server]:
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.asked = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def enrolled(server: _Server, tmp_path: Path) -> Callable[..., Any]:
    def ask(token: str = TOKEN) -> Any:
        return enrol(f"http://127.0.0.1:{server.server_port}/", token, tmp_path / "etc" / "agent.toml")

    return ask


def test_a_token_becomes_settings_key_and_root(server: _Server, enrolled: Callable[..., Any], tmp_path: Path) -> None:
    config = enrolled()
    assert server.asked == [("/enrol", json.dumps({"token": SECRET}, separators=(",", ":")).encode())]
    folder = tmp_path / "etc"
    assert (config.device, config.store, config.endpoint) == ("kitchen-1", "s3://modnet", "http://127.0.0.1:8333")
    assert (config.ingest, config.targets) == (f"http://127.0.0.1:{server.server_port}", ["cpu-int8"])
    assert config.root.read_bytes() == ROOT
    assert config.key_file == folder / "key"
    assert "aws_secret_access_key = a+b/c=\n" in (folder / "key").read_text()
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "agent.toml": 0o600,
        "key": 0o600,
        "root.json": 0o600,
    }
    assert folder.stat().st_mode & 0o777 == 0o700


def test_an_authority_of_ones_own_is_written_down(
    enrolled: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = tmp_path / 'our "own" уц.pem'
    authority.write_text("")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority))
    monkeypatch.setattr("ssl.create_default_context", lambda cafile: None)
    assert enrolled().ca_bundle == authority


OTHER_ROOT = {**GRANT.members(), "root_pieces": ["{}"]}
ANSWERS: dict[str, tuple[int, object, type[InfraError], str]] = {
    "another root": (200, OTHER_ROOT, UntrustedError, "wanted one that begins with"),
    "used": (403, {"error": "used", "message": "was used at noon"}, StoreRefusesError, "403 used: was used at noon"),
    "unknown": (401, {"error": "token", "message": "no such"}, StoreRefusesError, "401 token"),
    "an earlier ingest": (405, {"error": "method", "message": "wanted PUT"}, StoreUnavailableError, "405 method"),
    "malformed": (422, {"error": "malformed", "message": "token"}, ContractError, "422 malformed"),
    "too soon": (429, {"error": "rate", "message": "later"}, StoreUnavailableError, "429 rate"),
    "a portal": (200, "<html>log in</html>", StoreUnavailableError, "what answers is not the ingest"),
    "a page of 403": (403, "<html>", StoreUnavailableError, "what answers is not the ingest"),
    "a later version": (
        200,
        {**GRANT.members(), "schema_version": 2},
        StoreUnavailableError,
        "got 2, wanted at most 1",
    ),
    "a field less": (200, {"device": "a", "schema_version": 1}, StoreUnavailableError, "grant.store: missing"),
    "another alphabet": (
        200,
        {**GRANT.members(), "device": "кухня"},
        StoreUnavailableError,
        "got 'кухня', wanted 1 to",
    ),
    "a line in the key": (200, {**GRANT.members(), "secret": "a\nb"}, StoreUnavailableError, "wanted ASCII"),
    "huge": (200, {**GRANT.members(), "root_pieces": ["x" * 1000] * 100}, StoreUnavailableError, "not the ingest"),
}


@pytest.mark.parametrize(("status", "answer", "kind", "words"), ANSWERS.values(), ids=ANSWERS)
def test_nothing_is_written_after_another_answer(
    server: _Server,
    enrolled: Callable[..., Any],
    tmp_path: Path,
    status: int,
    answer: object,
    kind: type[InfraError],
    words: str,
) -> None:
    server.answer = (status, answer.encode() if isinstance(answer, str) else json.dumps(answer).encode())
    with pytest.raises(kind) as caught:
        enrolled()
    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert list((tmp_path / "etc").iterdir()) == []


@pytest.mark.parametrize("token", [TOKEN[:-1], TOKEN + "0", "", SECRET, TOKEN.upper(), "ж" * 64])
def test_a_token_that_is_cut_is_not_spent(server: _Server, enrolled: Callable[..., Any], token: str) -> None:
    with pytest.raises(SettingsError, match=f"token: got {len(token)} characters, wanted 64 of 0-9 a-f"):
        enrolled(token)
    assert server.asked == []


@pytest.mark.parametrize("name", ["agent.toml", "key", "root.json"])
def test_files_that_are_there_are_kept_and_the_token_is_not_spent(
    server: _Server, enrolled: Callable[..., Any], tmp_path: Path, name: str
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / name).write_text("mine")
    with pytest.raises(SettingsError, match=f"etc/{name} is there already"):
        enrolled()
    assert (server.asked, (tmp_path / "etc" / name).read_text()) == ([], "mine")


def test_a_folder_that_cannot_be_written_to_does_not_spend_the_token(server: _Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Not a directory|File exists"):
        enrol(f"http://127.0.0.1:{server.server_port}", TOKEN, tmp_path / "file" / "agent.toml")
    assert server.asked == []


def test_the_verb_says_what_it_did_and_what_is_next(
    server: _Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["enrol", f"http://127.0.0.1:{server.server_port}", TOKEN, "--config", str(tmp_path / "agent.toml")]
    assert main(arguments) == 0
    assert capsys.readouterr().out.splitlines()[0] == "device: kitchen-1"
    assert main(arguments) == 3
    assert "is there already" in capsys.readouterr().err


def test_the_verb_exits_4_where_nobody_answers_and_3_without_tls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ["--config", str(tmp_path / "agent.toml")]
    assert main(["enrol", "http://127.0.0.1:9", TOKEN, *config]) == 4
    assert main(["enrol", "http://example.com", TOKEN, *config]) == 3
    assert "wanted https://host" in capsys.readouterr().err
