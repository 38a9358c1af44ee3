"""What the agent does about each answer: one row each. A loop goes on after all of them, and measures once all is well.

An answer is the store's or the ingest's, or what becomes of a child.

The store is a small server that speaks as much S3 as the agent asks for, over a folder, and takes reports as the ingest
does; it gives one wrong answer until the agent waits for the first time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest

import infra.device.agent.agent as agent_module
import infra.device.agent.work as work_module
from infra.device.__main__ import main
from infra.device.agent.child import Take
from infra.device.agent.settings import Deadlines, RuntimeSettings
from infra.device.cli import run as run_module
from infra.device.documents.json_object import parse_json
from infra.device.documents.manifest import Manifest, TargetFiles
from infra.device.errors import (
    ChildLostError,
    ContractError,
    DeviceMissingError,
    NotStoredError,
    SettingsError,
)
from infra.device.measuring.request import Request
from infra.device.reports import read_reports
from infra.device.stores.folder_store import FolderStore
from infra.device.stores.s3_store import S3Store
from infra.publishing.releases import promote, publish_release
from tests.signing import publisher_of, root_file
from tests.unit.infra.exported import digests, exported

pytestmark = pytest.mark.usefixtures("children_in_process")
PAGE = b"<!doctype html><html><body>Please log in<br></body></html>"
POINTER, WEIGHTS, REPORT, TIMESTAMP = "GET targets/", ".bin", "PUT reports/", "GET tuf/timestamp"


def error(status: int, code: str) -> Answer:
    """An error as S3 sends it."""
    body = f"<Error><Code>{code}</Code><Message>scripted</Message></Error>".encode()
    return Answer(status, body, {"Content-Type": "application/xml"})


def refusal(status: int, code: str) -> Answer:
    """A refusal as the ingest sends it."""
    return Answer(status, json.dumps({"error": code, "message": "scripted"}).encode(), {})


@dataclass(frozen=True)
class Answer:
    """One wrong answer.

    `chunked` sends it without a Content-Length, `cut` closes the connection before its end, `stalls` neither sends nor
    closes anything before the agent waits.
    """

    status: int
    body: bytes | None
    headers: dict[str, str]
    chunked: bool = False
    cut: bool = False
    stalls: bool = False


def page(status: int, **headers: str) -> Answer:
    return Answer(status, PAGE, {"Content-Type": "text/html; charset=utf-8", **headers})


ETAG = {"ETag": '"scripted"'}
# what is asked, the answer, the exit code of that round, words of the log, reports of a failure
ANSWERS = {
    "clock off": (POINTER, error(403, "RequestTimeTooSkewed"), 4, "clock of this machine is wrong", 0),
    "refused": (POINTER, error(403, "AccessDenied"), 3, "which identity AWS_ACCESS_KEY_ID names", 0),
    "wrong secret": (POINTER, error(403, "SignatureDoesNotMatch"), 3, "its secret", 0),
    "token expired": (POINTER, error(400, "ExpiredToken"), 3, "ExpiredToken", 0),
    "no bucket": (POINTER, error(404, "NoSuchBucket"), 3, "bucket does not exist", 0),
    "pointer is gone": (POINTER, error(404, "NoSuchKey"), 5, "is signed, and missing", 0),
    "page of 404": (POINTER, page(404), 4, "not the store", 0),
    "page of 403": (POINTER, page(403), 4, "not the store", 0),
    "redirect to a login": (POINTER, page(302, Location="http://127.0.0.1:9/login"), 4, "not the store", 0),
    "page of a portal": (POINTER, page(200), 4, "not the store", 0),
    "page with an etag": (POINTER, page(200, ETag='"p"'), 4, "not the store", 0),
    "busy": (POINTER, error(503, "SlowDown"), 4, "503 SlowDown", 0),
    "too many": (POINTER, error(429, "TooManyRequests"), 4, "429", 0),
    "broken": (POINTER, page(502), 4, "502", 0),
    "closed": (POINTER, Answer(200, b"", ETAG, cut=True), 4, "targets/cpu-fp32", 0),
    "no json": (POINTER, Answer(200, b'{"schema_version": 1', ETAG), 5, "Observed length 20 does not match", 0),
    "chunked": (POINTER, Answer(200, None, ETAG, chunked=True), 0, "measured", 0),
    "chunked and cut": (POINTER, Answer(200, b"12", ETAG, chunked=True, cut=True), 4, "targets/cpu-fp32", 0),
    "chunked without end": (
        POINTER,
        Answer(200, bytes(3 << 20), ETAG, chunked=True),
        5,
        "exceeding the maximum allowed length",
        0,
    ),
    "pointer stalls": (
        POINTER,
        Answer(200, b"12", ETAG, cut=True, stalls=True),
        4,
        "what is signed: nothing came for 2 s",
        0,
    ),
    "weights stall": (WEIGHTS, Answer(200, b"12", ETAG, cut=True, stalls=True), 4, "nothing came for 2 s", 0),
    "report stalls": (REPORT, Answer(200, b"", {}, cut=True, stalls=True), 4, "the reports: nothing came for 2 s", 0),
    "page for a timestamp": (TIMESTAMP, page(200), 4, "not the store", 0),
    "nothing signed": (TIMESTAMP, error(404, "NoSuchKey"), 0, "no release was promoted", 0),
    "no metadata": (TIMESTAMP, Answer(200, b'{"signed": 1}', ETAG), 3, "waiting (tuf/ in s3://bucket", 0),
    "root refused": ("GET tuf/2.root", error(403, "AccessDenied"), 3, "which identity AWS_ACCESS_KEY_ID names", 0),
    "weights chunked": (WEIGHTS, Answer(200, None, ETAG, chunked=True), 0, "measured", 0),
    "weights refused": (WEIGHTS, error(403, "AccessDenied"), 3, "AccessDenied", 0),
    "weights are a page": (WEIGHTS, page(200, ETag='"p"'), 4, "not the store", 0),
    "weights missing": (WEIGHTS, error(404, "NoSuchKey"), 5, "no such key", 1),
    "weights changed": (WEIGHTS, Answer(200, b"evil", ETAG), 5, "got 4 bytes", 1),
    "report of an unknown key": (REPORT, refusal(401, "unknown"), 3, "401 unknown: scripted", 0),
    "report of a wrong secret": (REPORT, refusal(401, "signature"), 3, "401 signature", 0),
    "report of a revoked device": (REPORT, refusal(403, "revoked"), 3, "403 revoked", 0),
    "report in another name": (REPORT, refusal(403, "device"), 3, "403 device", 0),
    "report beyond the quota": (REPORT, refusal(403, "quota"), 3, "403 quota", 0),
    "report at another time": (REPORT, refusal(403, "clock"), 4, "403 clock: scripted", 0),
    "report too soon": (REPORT, refusal(429, "rate"), 4, "429 rate", 0),
    "report while busy": (REPORT, refusal(503, "busy"), 4, "503 busy", 0),
    "report without room": (REPORT, refusal(507, "full"), 4, "507 full", 0),
    "report cut": (REPORT, refusal(400, "cut"), 4, "400 cut", 0),
    "report to a portal": (REPORT, page(200), 4, "not the ingest", 0),
    "report to a page of 403": (REPORT, page(403), 4, "not the ingest", 0),
    "report to a login": (REPORT, page(302, Location="http://127.0.0.1:9/login"), 4, "not the ingest", 0),
    "report swallowed": (REPORT, Answer(200, b"", {}), 4, "not the ingest", 0),
    "report taken for another": (REPORT, Answer(200, b'{"stored": "a", "sha256": "b"}', {}), 4, "not the ingest", 0),
    "acknowledgement cut": (REPORT, Answer(200, b'{"stored": "reports/', {}, cut=True), 4, "not the ingest", 0),
}
NEVER_TAKEN = {"taken": refusal(409, "taken"), "large": refusal(413, "large"), "malformed": refusal(422, "malformed")}


class _Store(ThreadingHTTPServer):
    folder: FolderStore
    asked: str
    wrong: Answer | None = None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Store

    def do_GET(self) -> None:
        key = self._key()
        if not self._gave_wrong_answer(key):
            try:
                self._send(Answer(200, self.server.folder.get(key), ETAG))
            except NotStoredError:
                self._send(error(404, "NoSuchKey"))

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._gave_wrong_answer(self._key()):
            self.server.folder.put(self._key(), body)
            stored = {"stored": self._key(), "sha256": hashlib.sha256(body).hexdigest()}
            self._send(Answer(200, json.dumps(stored).encode(), {}))

    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).removeprefix("/bucket").removeprefix("/")

    def _gave_wrong_answer(self, key: str) -> bool:
        wrong = self.server.wrong
        if wrong is None or self.server.asked not in f"{self.command} {key}":
            return False
        self._send(wrong if wrong.body is not None else Answer(200, self.server.folder.get(key), ETAG, chunked=True))
        return True

    def _send(self, answer: Answer) -> None:
        assert answer.body is not None
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        if answer.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%b\r\n" % (len(answer.body), answer.body) + b"0\r\n\r\n"
        else:
            self.send_header("Content-Length", str(len(answer.body) + 10 * answer.cut))
            body = answer.body
        self.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):  # the agent has read enough
            self.wfile.write(body[:4] if answer.cut else body)
            while answer.stalls and self.server.wrong is not None:
                time.sleep(0.01)
        self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def server_and_store(
    set_aws: Callable[[pytest.MonkeyPatch, str], None],
) -> Iterator[tuple[_Store, S3Store]]:
    """One server and one client for all rows: making a client takes longer than they do."""
    with _Store(("127.0.0.1", 0), _Handler) as server, pytest.MonkeyPatch.context() as environment:
        set_aws(environment, f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server, S3Store("bucket")
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("asked", "answer", "code", "words", "failures"), ANSWERS.values(), ids=ANSWERS)
def test_a_loop_goes_on_after_each_answer_and_measures_once_all_is_well(
    server_and_store: tuple[_Store, S3Store],
    store: FolderStore,
    ir_xml: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    asked: str,
    answer: Answer,
    code: int,
    words: str,
    failures: int,
) -> None:
    caplog.set_level(logging.INFO)
    server, s3 = server_and_store
    server.folder, server.asked, server.wrong = store, asked, answer
    release = _promoted(store, ir_xml)
    codes: list[int] = []
    log_of_first_round = []

    def run_round(*arguments: object) -> int:
        codes.append(real_run_round(*arguments))  # type: ignore[arg-type]
        return codes[-1]

    def pause(seconds: float) -> None:
        if server.wrong is None:
            sys.exit(0)
        server.wrong = None
        log_of_first_round.append(caplog.text)

    if answer.stalls:
        monkeypatch.setattr(agent_module, "ASKED_WITHIN_S", 2.0)
        monkeypatch.setattr(work_module, "DOWNLOAD_WINDOW_S", 2.0)
    real_run_round = run_module.run_round
    monkeypatch.setattr(run_module, "run_round", run_round)
    monkeypatch.setattr(run_module, "pause", pause)
    monkeypatch.setattr(run_module, "open_store", lambda url: s3)
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda seconds: None))

    with pytest.raises(SystemExit):
        main(_options(server, tmp_path))

    assert codes == [code, 0]
    assert words in log_of_first_round[0]
    reports, refused = read_reports(store, release)
    assert [report.status for report in reports] == ["failed"] * failures + ["measured"]
    assert refused == []


CRASHED = ChildLostError("crashed while running the network: ended by signal 11 (Segmentation fault)")
HUNG = ChildLostError("hung while loading the network: killed after 300 s (load_s)")
SHAPE = ContractError("cpu-fp32.xml: got a network whose input is [1, 3, 16, 8], wanted [1, 3, 8, 8]")
GONE = SettingsError("openvino cannot be imported here: No module named 'openvino'")
NO_PYTHON = SettingsError("runtime here: /opt/python cannot be started: [Errno 2] No such file or directory")
GOLDEN = {"stage": "golden", "golden": {"images_count": 2, "worst_difference": 0.5, "tolerance": 0.01}}
OTHER = {"stage": "runtime", "text": "openvino 1.0"}
# what becomes of the children that measure, one after the other, exit codes of three rounds, words of the log, reports
CHILDREN = {
    "crashed": ([CRASHED], [3, 0, 0], "Segmentation fault); it is tried once more", ["measured"]),
    "crashed twice": ([CRASHED, CRASHED], [3, 5, 5], "tried 2 times; at last it crashed", ["failed"]),
    "hung": ([HUNG], [3, 0, 0], "killed after 300 s (load_s); it is tried once more", ["measured"]),
    "hung, then crashed": ([HUNG, CRASHED], [3, 5, 5], "tried 2 times; at last it crashed", ["failed"]),
    "made no sense": ([ChildLostError("made no sense")], [3, 0, 0], "made no sense", ["measured"]),
    "wrong golden": ([GOLDEN], [5, 5, 5], "golden images: got a mean absolute difference of 0.5", ["wrong"]),
    "golden of no sense": ([{**GOLDEN, "golden": {}}], [3, 0, 0], "answer.golden.images_count: missing", ["measured"]),
    "nothing found": ([{"stage": "done"}], [3, 0, 0], "neither measured nor", ["measured"]),
    "other shape": ([SHAPE], [5, 5, 5], "whose input is [1, 3, 16, 8]", ["failed"]),
    "runtime gone": ([GONE, GONE], [3, 3, 0], "openvino cannot be imported here", ["measured"]),
    "python missing": ([NO_PYTHON, NO_PYTHON], [3, 3, 0], "/opt/python cannot be started", ["measured"]),
    "other runtime": ([OTHER], [3, 0, 0], "got openvino 1.0, it was openvino", ["measured"]),
    "unforeseen": ([KeyError("of a bug")], [3, 0, 0], "KeyError: 'of a bug'", ["measured"]),
    "not permitted": ([PermissionError("work")], [3, 0, 0], "work: not permitted", ["measured"]),
    "stick lost": ([DeviceMissingError("NC_ERROR")], [3, 0, 0], "NC_ERROR", ["measured"]),
    "stick lost thrice": ([DeviceMissingError("NC_ERROR")] * 3, [3, 3, 3], "NC_ERROR", []),
}


@pytest.mark.parametrize(("children", "codes", "words", "statuses"), CHILDREN.values(), ids=CHILDREN)
def test_a_loop_goes_on_whatever_becomes_of_a_child(
    store: FolderStore,
    ir_xml: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    children: list[Exception | dict[str, object]],
    codes: list[int],
    words: str,
    statuses: list[str],
) -> None:
    release, found, left = _promoted(store, ir_xml), [], list(children)

    def run_child(runtime: RuntimeSettings, request: Request, deadlines: Deadlines, take: Take) -> None:
        if not left:
            return real_run_child(runtime, request, deadlines, take)
        first = left.pop(0)
        if isinstance(first, Exception):
            raise first
        with_answer = parse_json(json.dumps(first).encode(), "answer", max_bytes=1000)
        try:
            if first["stage"] != "done":
                take(str(first["stage"]), with_answer)
        except ContractError as error:  # as of the real one
            raise ChildLostError(str(error)) from error

    def run_round(*arguments: object) -> int:
        found.append(3)  # of what is raised
        found[-1] = real_run_round(*arguments)  # type: ignore[arg-type]
        return found[-1]

    def pause(seconds: float) -> None:
        if len(found) == len(codes):
            sys.exit(0)

    real_run_child, real_run_round = agent_module.run_child, run_module.run_round
    monkeypatch.setattr(agent_module, "run_child", run_child)
    monkeypatch.setattr(run_module, "run_round", run_round)
    monkeypatch.setattr(run_module, "pause", pause)

    options = ["--target", "cpu-fp32", "--device", "pi", "--store", store.url, "--root", str(root_file())]
    with pytest.raises(SystemExit):
        main([*options, "--repeats", "1", "--work-folder", str(tmp_path / "work")])

    assert found == codes
    assert words in caplog.text
    reports, refused = read_reports(store, release)
    assert [report.status for report in reports] == statuses
    assert refused == []


@pytest.mark.parametrize("answer", NEVER_TAKEN.values(), ids=NEVER_TAKEN)
def test_a_report_that_is_never_taken_is_set_aside_and_told(
    server_and_store: tuple[_Store, S3Store],
    store: FolderStore,
    ir_xml: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    answer: Answer,
) -> None:
    server, s3 = server_and_store
    server.folder, server.asked, server.wrong = store, REPORT, answer
    _promoted(store, ir_xml)
    monkeypatch.setattr(run_module, "open_store", lambda url: s3)

    assert main([*_options(server, tmp_path), "--once"]) == 0

    assert f"the ingest answered {answer.status} " in caplog.text
    assert [path.suffix for path in (tmp_path / "work" / "spool").iterdir()] == [".damaged"]


def _options(server: _Store, tmp_path: Path) -> list[str]:
    options = ["--target", "cpu-fp32", "--device", "pi", "--store", "s3://bucket", "--root", str(root_file())]
    options += ["--warm-up", "0", "--repeats", "1"]
    return [*options, "--ingest", f"http://127.0.0.1:{server.server_port}", "--work-folder", str(tmp_path / "work")]


def _promoted(store: FolderStore, ir_xml: Path) -> str:
    files = {path.name: path for path in (ir_xml, ir_xml.with_suffix(".bin"))}
    manifest = Manifest(
        workload="matting",
        network_id="0123456789ab",
        targets={"cpu-fp32": TargetFiles("cpu-fp32.xml", "cpu-fp32.bin", "input", (1, 3, 8, 8), "fp32")},
        files=digests(files),
        scores={},
        provenance={},
    )
    release = publish_release(publisher_of(store), manifest, exported(store, files))
    promote(publisher_of(store), "cpu-fp32", release)
    return release
