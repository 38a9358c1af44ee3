"""A real ingest over a real S3 server: what devices, and whoever else reaches it, can and cannot do there."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from infra.device.agent.ingest import Ingest
from infra.device.documents.checks import utc_now
from infra.device.documents.latency_report import MAX_SENT_BYTES, LatencyReport
from infra.device.errors import ContractError, NotStoredError, StoreRefusesError, StoreUnavailableError
from infra.device.stores.s3_store import S3Store
from infra.device.stores.signature import TIME_FORMAT, authorization, now
from infra.ingest.app import MAX_BODIES, TURN_WITHIN_S
from infra.ingest.events import REPORT_STORED, release_resource
from infra.local_stack.store_security import write_store_security
from tests.integration.conftest import DEVICES, IngestServer

ROOT = Path(__file__).parents[2]
AsDevice = Callable[..., Ingest]


def report(device: str = "device", **changes: Any) -> LatencyReport:
    """A report of its own: no other has its time."""
    return replace(
        LatencyReport(
            release_id="0123456789ab",
            target="cpu-fp32",
            device=device,
            runtime="openvino 2026.4.1",
            status="failed",
            started_at=utc_now(),
            conditions={},
            reason="no such layer",
        ),
        **changes,
    )


@pytest.fixture
def as_device(
    s3_environ: Callable[[str], dict[str, str]], ingest: IngestServer, monkeypatch: pytest.MonkeyPatch
) -> AsDevice:
    """A function to the ingest as a device sees it, by the device's name, and a secret or URL of another choice."""

    def open_as(name: str = "device", secret: str = "", url: str = ingest.url) -> Ingest:
        for variable, value in s3_environ(name).items():
            monkeypatch.setenv(variable, value)
        if secret:
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        return Ingest(url)

    return open_as


def send(
    url: str, key: str, body: bytes, *, sent: bytes | None = None, tampered: dict[str, str | None] | None = None,
    signed: dict[str, str] | None = None, path: str | None = None, method: str = "PUT"
) -> tuple[int, dict[str, Any]]:  # fmt: skip
    """One signed request of `device`, spoilt after it was signed.

    Args:
        url: of the ingest.
        key: that is signed.
        body: that is signed.
        sent: other bytes in place of the body.
        tampered: headers in place of those that were signed; None leaves one out.
        signed: other arguments of `authorization`.
        path: another one than was signed.
        method: another one than was signed.
    """
    of_request = {"host": urlsplit(url).netloc, "signed_at": now(), "body_sha256": hashlib.sha256(body).hexdigest()}
    of_request.update({"key_id": "device", "secret": "device-secret", **(signed or {})})
    headers: dict[str, str | None] = {
        "Host": of_request["host"],
        "X-Amz-Date": of_request["signed_at"],
        "X-Amz-Content-SHA256": of_request["body_sha256"],
        "Authorization": authorization("PUT", f"/{key}", **of_request),
        "Content-Length": str(len(body if sent is None else sent)),
        **(tampered or {}),
    }
    return exchange(url, method, path or f"/{key}", headers, body if sent is None else sent)


def exchange(url: str, method: str, path: str, headers: dict[str, str | None], body: bytes) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in headers.items():
        if value is not None:
            connection.putheader(name, value)
    connection.endheaders()
    connection.send(body)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text) if text.startswith(b"{") else {"error": text.decode()}


def test_a_report_is_stored_once_under_its_device(as_device: AsDevice, s3_store: Callable[[str], S3Store]) -> None:
    one, ingest = report(), as_device()
    for _ in range(2):  # the first answer may have been lost
        assert ingest.put(one.key(), one.to_json()) == hashlib.sha256(one.to_json()).hexdigest()
    assert one.key().startswith("reports/device/0123456789ab/cpu-fp32-")
    assert LatencyReport.from_json(s3_store("pipeline").get(one.key())) == one


def test_another_report_of_the_same_name_is_refused_and_the_first_stays(
    as_device: AsDevice, s3_store: Callable[[str], S3Store]
) -> None:
    one = report()
    as_device().put(one.key(), one.to_json())
    for other in (replace(one, reason="another"), replace(one, reason="a longer reason than before")):
        with pytest.raises(ContractError, match="409 taken: another report is stored as"):
            as_device().put(other.key(), other.to_json())
    assert LatencyReport.from_json(s3_store("pipeline").get(one.key())) == one


TAMPERED: dict[str, tuple[dict[str, Any], int, str]] = {
    "unsigned": ({"tampered": {"Authorization": None}}, 401, "unsigned"),
    "another scheme": ({"tampered": {"Authorization": "Basic ZGV2aWNlOmRldmljZS1zZWNyZXQ="}}, 401, "unsigned"),
    "no date": ({"tampered": {"X-Amz-Date": None}}, 401, "signature"),
    "no digest": ({"tampered": {"X-Amz-Content-SHA256": None}}, 401, "signature"),
    "another date": ({"tampered": {"X-Amz-Date": "20261129T000000Z"}}, 401, "signature"),
    "no date at all": ({"tampered": {"X-Amz-Date": "now"}}, 401, "signature"),
    "a date that is none": ({"signed": {"signed_at": "tomorrow"}}, 403, "clock"),
    "another host": ({"tampered": {"Host": "ingest.example.com"}}, 401, "signature"),
    "another digest": ({"tampered": {"X-Amz-Content-SHA256": "0" * 64}}, 401, "signature"),
    "unsigned payload": ({"tampered": {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}}, 401, "signature"),
    "another body": ({"sent": b"{}"}, 400, "cut"),
    "no body": ({"sent": b""}, 400, "cut"),
    "another path": ({"path": "/reports/device/0123456789ab/other.json"}, 401, "signature"),
    "another device's path": ({"path": "/reports/other-device/0123456789ab/other.json"}, 401, "signature"),
    "a path upwards": ({"path": "/reports/device/../0123456789ab/other.json"}, 404, "path"),
    "an escaped path": ({"path": "/reports/device%2f..%2f/0123456789ab/other.json"}, 404, "path"),
    "a query": ({"path": "/reports/device/0123456789ab/other.json?X-Amz-Signature=0"}, 404, "path"),
    "another secret": ({"signed": {"secret": "other-device-secret"}}, 401, "signature"),
    "an unknown key": ({"signed": {"key_id": "nobody"}}, 401, "unknown"),
    "the pipeline's key": ({"signed": {"key_id": "pipeline", "secret": "pipeline-secret"}}, 401, "unknown"),
    "another device's key": ({"signed": {"key_id": "other-device", "secret": "other-device-secret"}}, 403, "device"),
    "another device's signature": ({"signed": {"key_id": "other-device"}}, 401, "signature"),
    "no length": ({"tampered": {"Content-Length": None}}, 411, "length"),
    "a negative length": ({"tampered": {"Content-Length": "-1"}}, 400, "Invalid HTTP request received."),
    "a huge length": ({"tampered": {"Content-Length": "99999999999999"}}, 413, "large"),
    "half a letter": ({"tampered": {"Authorization": "AWS4-HMAC-SHA256 Credential=device/\xe4"}}, 401, "signature"),
}


@pytest.mark.parametrize(("how", "status", "code"), TAMPERED.values(), ids=TAMPERED)
def test_a_request_that_was_changed_or_is_anothers_stores_nothing(
    ingest: IngestServer, s3_store: Callable[[str], S3Store], how: dict[str, Any], status: int, code: str
) -> None:
    one, before = report(), s3_store("pipeline").list("reports/")
    ended, answer = send(ingest.url, one.key(), one.to_json(), **how)
    assert (ended, answer["error"]) == (status, code)
    assert s3_store("pipeline").list("reports/") == before


@pytest.mark.parametrize("method", ["POST", "DELETE", "GET", "PATCH"])
def test_reports_are_put_and_nothing_else(ingest: IngestServer, method: str) -> None:
    one = report()
    assert send(ingest.url, one.key(), one.to_json(), method=method)[0] == 405


def test_a_header_that_stands_there_twice_is_none(ingest: IngestServer) -> None:
    one, signed_at, sha256 = report(), now(), hashlib.sha256(report().to_json()).hexdigest()
    lines = [f"PUT /{one.key()} HTTP/1.1", f"Host: {urlsplit(ingest.url).netloc}", "Content-Length: 0"]
    lines += [f"X-Amz-Date: {signed_at}", f"X-Amz-Date: {signed_at}", f"X-Amz-Content-SHA256: {sha256}"]
    lines += ["Authorization: AWS4-HMAC-SHA256 Credential=device/x", "Connection: close", "", ""]
    with socket.create_connection(("127.0.0.1", urlsplit(ingest.url).port or 0)) as connection:
        connection.sendall("\r\n".join(lines).encode())
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("minutes", [-16, 16])
def test_a_clock_that_is_wrong_is_told_with_both_times_and_waited_for(
    as_device: AsDevice, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    there = (datetime.now(UTC) + timedelta(minutes=minutes)).strftime(TIME_FORMAT)
    monkeypatch.setattr("infra.device.agent.ingest.now", lambda: there)
    one = report()
    with pytest.raises(StoreUnavailableError, match=rf"403 clock: signed at {there}, and it is 2\d{{7}}T\d{{6}}Z here"):
        as_device().put(one.key(), one.to_json())


def test_a_request_that_is_sent_again_changes_nothing_and_is_refused_when_it_is_old(
    ingest: IngestServer, s3_store: Callable[[str], S3Store]
) -> None:
    one = report()
    assert [send(ingest.url, one.key(), one.to_json())[0] for _ in range(2)] == [200, 200]
    then = (datetime.now(UTC) - timedelta(minutes=16)).strftime(TIME_FORMAT)
    s3_store("pipeline").delete(one.key())
    assert send(ingest.url, one.key(), one.to_json(), signed={"signed_at": then})[1]["error"] == "clock"
    with pytest.raises(NotStoredError):
        s3_store("pipeline").get(one.key())


MALFORMED = {
    "no json": b"\xff\xfe",
    "another object": b'{"schema_version": 1}',
    "cut": report().to_json()[:-20],
    "deep": b"[" * 100_000,
    "of a later version": report()
    .to_json()
    .replace(b'"schema_version":%d' % LatencyReport.newest, b'"schema_version":99'),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_report_is_refused_for_good(as_device: AsDevice, body: bytes) -> None:
    with pytest.raises(ContractError, match="422 malformed: report"):
        as_device().put(report().key(), body)


def test_a_report_has_its_own_name_and_device(as_device: AsDevice) -> None:
    one = report()
    with pytest.raises(ContractError, match="422 name: got 'reports/device/.*other.json', wanted 'reports/device/"):
        as_device().put("reports/device/0123456789ab/other.json", one.to_json())
    with pytest.raises(ContractError, match="422 name: .* wanted 'reports/other-device/"):
        as_device().put(one.key(), replace(one, device="other-device").to_json())
    with pytest.raises(StoreRefusesError, match="403 device: the key is that of 'device', the report that of 'pi'"):
        as_device().put(report("pi").key(), report("pi").to_json())


def test_a_report_that_is_too_large_is_not_even_sent_and_not_read(as_device: AsDevice, ingest: IngestServer) -> None:
    one = report()
    with pytest.raises(ContractError, match=f"wanted at most {MAX_SENT_BYTES}"):
        as_device().put(one.key(), bytes(MAX_SENT_BYTES + 1))
    length = {"Content-Length": str(MAX_SENT_BYTES + 1)}
    assert send(ingest.url, one.key(), one.to_json(), tampered=length)[1]["error"] == "large"


@pytest.mark.parametrize("request_line", ["PUT /x", "GET /x", "PUT *", "PUT /reports/device/0123456789ab/other.json"])
def test_the_body_of_a_refused_request_is_not_read(ingest: IngestServer, request_line: str) -> None:
    head = f"{request_line} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", urlsplit(ingest.url).port or 0), timeout=20) as connection:
        connection.sendall(head.encode())
        answer = connection.makefile("rb").read()  # until the ingest ends the connection
    assert answer.startswith(b"HTTP/1.1 40")
    assert b"\r\nconnection: close\r\n" in answer.lower()


def test_a_flood_without_a_key_does_not_fill_the_log(start_ingest: Callable[..., IngestServer]) -> None:
    ingest = start_ingest()
    for _ in range(300):
        assert exchange(ingest.url, "PUT", "/" + "x" * 1000, {"Host": "x", "Content-Length": "0"}, b"")[0] == 404
    assert 60 <= ingest.log.read_text().count("404 path") <= 120  # the minute may have changed meanwhile


def begin(url: str, one: LatencyReport, key_id: str, secret: str) -> socket.socket:
    """A connection over which the head of a report's request and 50 bytes of its body went."""
    body, signed_at, host = one.to_json(), now(), urlsplit(url).netloc
    sha256 = hashlib.sha256(body).hexdigest()
    signed = {"host": host, "signed_at": signed_at, "body_sha256": sha256, "key_id": key_id, "secret": secret}
    lines = [f"PUT /{one.key()} HTTP/1.1", f"Host: {host}", f"X-Amz-Date: {signed_at}", f"Content-Length: {len(body)}"]
    lines += [f"X-Amz-Content-SHA256: {sha256}", f"Authorization: {authorization('PUT', f'/{one.key()}', **signed)}"]
    connection = socket.create_connection(("127.0.0.1", urlsplit(url).port or 0))
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + body[:50])
    return connection


def test_a_body_that_is_cut_off_stores_nothing(
    start_ingest: Callable[..., IngestServer], s3_store: Callable[[str], S3Store]
) -> None:
    ingest, one = start_ingest(), report()  # one whose log is empty
    with begin(ingest.url, one, "device", "device-secret"):
        time.sleep(0.3)
        # meanwhile the same device sends nothing else
        assert send(ingest.url, report().key(), report().to_json())[1]["error"] == "busy"
    _wait_until(lambda: "400 cut: body: ends after 50 of" in ingest.log.read_text())
    assert one.key() not in s3_store("pipeline").list("reports/device/")
    assert send(ingest.url, one.key(), one.to_json())[0] == 200


def test_no_more_bodies_are_read_at_a_time_than_there_is_memory_for(ingest: IngestServer) -> None:
    slow = [ingest.registry.add(f"slow-{number}") for number in range(MAX_BODIES)]
    connections = [begin(ingest.url, report(one.name), one.key_id, one.secret) for one in slow]
    time.sleep(0.3)
    began, one = time.monotonic(), report()
    status, answer = send(ingest.url, one.key(), one.to_json())
    assert (status, answer["error"]) == (503, "busy")
    assert time.monotonic() - began >= TURN_WITHIN_S
    connections[0].close()
    assert send(ingest.url, one.key(), one.to_json())[0] == 200
    for connection in connections:
        connection.close()


def test_revoking_and_adding_work_at_once(as_device: AsDevice, ingest: IngestServer) -> None:
    first = ingest.registry.add("attic")
    one = report("attic")

    def put(key: tuple[str, str]) -> int:
        return send(ingest.url, one.key(), one.to_json(), signed={"key_id": key[0], "secret": key[1]})[0]

    assert put((first.key_id, first.secret)) == 200
    ingest.registry.revoke("attic")
    status, answer = send(ingest.url, one.key(), one.to_json(), signed={"key_id": first.key_id, "secret": first.secret})
    assert (status, answer["error"]) == (403, "revoked")
    assert "the key of device 'attic' was revoked at 20" in answer["message"]
    second = ingest.registry.add("attic")
    assert (put((first.key_id, first.secret)), put((second.key_id, second.secret))) == (401, 200)


@pytest.mark.parametrize("spoil", ["cut", "open"])
def test_a_registry_that_cannot_be_read_is_waited_for(start_ingest: Callable[..., IngestServer], spoil: str) -> None:
    ingest, one = start_ingest(), report()
    path = ingest.log.with_name("devices.json")
    whole = path.read_bytes()
    if spoil == "cut":
        path.write_bytes(whole[:-9])
    else:
        path.chmod(0o644)
    assert send(ingest.url, one.key(), one.to_json())[1]["error"] == "registry"
    path.write_bytes(whole)
    path.chmod(0o600)
    assert send(ingest.url, one.key(), one.to_json())[0] == 200


def test_a_store_that_is_away_is_waited_for(start_ingest: Callable[..., IngestServer], as_device: AsDevice) -> None:
    ingest, one = start_ingest(AWS_ENDPOINT_URL="http://127.0.0.1:9"), report()
    with pytest.raises(StoreUnavailableError, match="503 store"):
        as_device(url=ingest.url).put(one.key(), one.to_json())


def test_a_folder_without_room_is_waited_for(
    start_ingest: Callable[..., IngestServer], as_device: AsDevice, tmp_path: Path
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(full)], check=False)
    if made.returncode:
        pytest.skip("a small file system needs root")
    try:
        (full / "filler").write_bytes(bytes(4096))
        ingest = start_ingest(MODNET_STORE=full.as_uri())
        one = report(reason="x" * 1900, conditions={f"note_{n}_text": "y" * 1900 for n in range(8)})
        with pytest.raises(StoreUnavailableError, match="507 full"):
            as_device(url=ingest.url).put(one.key(), one.to_json())
        (full / "filler").unlink()
        small = report()
        as_device(url=ingest.url).put(small.key(), small.to_json())
    finally:
        subprocess.run(["umount", "-l", str(full)], check=False)


class _Prefect(BaseHTTPRequestHandler):
    """Takes events."""

    got: list[tuple[str, str | None, Any]]

    def do_POST(self) -> None:
        events = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.got.append((self.path, self.headers["Authorization"], events))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def test_prefect_is_told_of_each_stored_report_once_and_asked_with_its_password(
    start_ingest: Callable[..., IngestServer],
) -> None:
    _Prefect.got, one = [], report()
    with HTTPServer(("127.0.0.1", 0), _Prefect) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        api_url = f"http://127.0.0.1:{server.server_port}/api"
        ingest = start_ingest(PREFECT_API_URL=api_url, PREFECT_API_AUTH_STRING="admin:secret")
        for body in (one.to_json(), one.to_json(), b"{}"):
            send(ingest.url, one.key(), body)
        _wait_until(lambda: len(_Prefect.got) > 0)
        time.sleep(0.5)
        server.shutdown()
    ((path, password, (event,)),) = _Prefect.got
    assert (path, password) == ("/api/events", "Basic YWRtaW46c2VjcmV0")
    assert (event["event"], event["resource"]["prefect.resource.id"]) == (
        REPORT_STORED,
        release_resource(one.release_id),
    )
    assert event["payload"]["key"] == one.key()


def test_a_prefect_that_does_not_answer_delays_nothing(start_ingest: Callable[..., IngestServer]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ingest = start_ingest(PREFECT_API_URL=f"http://127.0.0.1:{silent.getsockname()[1]}/api")
        began = time.monotonic()
        for _ in range(3):
            one = report()
            assert send(ingest.url, one.key(), one.to_json())[0] == 200
        assert time.monotonic() - began < 5


def test_another_address_wants_tls_and_a_device_verifies_it(
    start_ingest: Callable[..., IngestServer], as_device: AsDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_store_security(tmp_path / "tls")  # a certificate for loopback that signs itself
    certificate, key = tmp_path / "tls" / "certificate.pem", tmp_path / "tls" / "key.pem"
    ingest = start_ingest("--host", "0.0.0.0", "--certificate", str(certificate), "--key", str(key))
    one = report()
    with pytest.raises(StoreUnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
        as_device(url=ingest.url).put(one.key(), one.to_json())
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    as_device(url=ingest.url).put(one.key(), one.to_json())
    assert ssl.get_server_certificate(("127.0.0.1", urlsplit(ingest.url).port or 0)) in certificate.read_text() + "\n"


BAD_FLAGS = {
    "in the clear": (["--host", "0.0.0.0"], "--host 0.0.0.0: others reach it, wanted --certificate and --key"),
    "a name": (["--host", "localhost"], "wanted an address"),
    "half": (["--certificate", "a.pem"], "got one of them, wanted both"),
    "no file": (["--certificate", "a.pem", "--key", "b.pem"], "No such file"),
}


@pytest.mark.parametrize(("flags", "words"), BAD_FLAGS.values(), ids=BAD_FLAGS)
def test_an_address_or_certificate_that_cannot_be_used_ends_the_ingest(
    flags: list[str], words: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "infra.ingest", "--port", "1", "--devices", str(tmp_path / "devices.json"), *flags]
    ended = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert ended.returncode == 3
    assert words in ended.stderr


def test_devices_write_nothing_to_the_store_themselves(s3_store: Callable[[str], S3Store]) -> None:
    for name in DEVICES:
        one = report(name)
        with pytest.raises(StoreRefusesError, match="AccessDenied"):
            s3_store(name).put(one.key(), one.to_json())


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)
