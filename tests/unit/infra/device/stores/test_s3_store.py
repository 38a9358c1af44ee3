"""What only this store does; what all stores share is in tests/integration/test_object_store_contract.py."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from infra.device.errors import (
    ConflictError,
    DiskFullError,
    InfraError,
    NotStoredError,
    SettingsError,
    StoreUnavailableError,
)
from infra.device.stores import s3_store as s3_store_module
from infra.device.stores.s3_store import S3Store


@pytest.fixture(autouse=True)
def own_client() -> Iterator[None]:
    """What a test registers with the client of this process is gone after it."""
    yield
    s3_store_module._client.cache_clear()


class _ScriptedServer(HTTPServer):
    """An S3 server that gives one answer to everything."""

    status = 200
    code = ""
    body = b""
    declared_bytes: int | None = None
    headers: Message


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # answers `Expect: 100-continue`, for which the client would wait a second
    server: _ScriptedServer

    def do_GET(self) -> None:
        self.server.headers = self.headers
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        error = f"<Error><Code>{self.server.code}</Code><Message>scripted</Message></Error>".encode()
        body = self.server.body if self.server.status == 200 else error
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(self.server.declared_bytes or len(body)))
        self.send_header("ETag", '"scripted"')
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    do_PUT = do_GET  # noqa: N815 - the name that http.server looks for

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def scripted_store(
    set_aws: Callable[[pytest.MonkeyPatch, str], None],
) -> Iterator[tuple[_ScriptedServer, S3Store]]:
    """One server and one client for all tests: making a client takes longer than they do."""
    with _ScriptedServer(("127.0.0.1", 0), _Handler) as scripted, pytest.MonkeyPatch.context() as environment:
        set_aws(environment, f"http://127.0.0.1:{scripted.server_port}")
        thread = threading.Thread(target=scripted.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield scripted, S3Store("bucket")
        scripted.shutdown()
        thread.join()


@pytest.fixture
def server(scripted_store: tuple[_ScriptedServer, S3Store]) -> _ScriptedServer:
    scripted = scripted_store[0]
    scripted.status, scripted.code, scripted.body, scripted.declared_bytes = 200, "", b"", None
    return scripted


@pytest.fixture
def s3(scripted_store: tuple[_ScriptedServer, S3Store]) -> S3Store:
    return scripted_store[1]


def test_s3_store_download_leaves_nothing_when_there_is_no_room(
    server: _ScriptedServer, s3: S3Store, tmp_path: Path, little_room: None
) -> None:
    server.body = bytes(100_000)
    with pytest.raises(DiskFullError, match=r"model\.bin"):
        s3.download_file("a", tmp_path / "model.bin")
    assert list(tmp_path.iterdir()) == []


def test_s3_store_download_leaves_nothing_when_the_connection_is_cut(
    server: _ScriptedServer, s3: S3Store, tmp_path: Path
) -> None:
    server.body = b"half"
    server.declared_bytes = 8
    with pytest.raises(StoreUnavailableError):
        s3.download_file("a", tmp_path / "model.bin")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "code", "wanted"),
    [
        (503, "SlowDown", StoreUnavailableError),
        (404, "NoSuchKey", NotStoredError),
        (404, "NoSuchBucket", SettingsError),
        (403, "SignatureDoesNotMatch", SettingsError),
        (412, "PreconditionFailed", ConflictError),
        (409, "ConditionalRequestConflict", StoreUnavailableError),
        (409, "OperationAborted", StoreUnavailableError),
        (409, "ExistingObjectIsDirectory", ConflictError),
        (400, "EntityTooLarge", SettingsError),
    ],
)
def test_s3_store_says_key_and_endpoint_when_the_server_refuses(
    server: _ScriptedServer, s3: S3Store, status: int, code: str, wanted: type[InfraError]
) -> None:
    server.status, server.code = status, code
    with pytest.raises(wanted) as caught:
        s3.get("some/key")
    assert "some/key" in str(caught.value)
    assert f"127.0.0.1:{server.server_port}" in str(caught.value)


def test_s3_store_names_every_variable_that_an_identity_can_come_from_when_it_is_refused(
    server: _ScriptedServer, s3: S3Store
) -> None:
    server.status, server.code = 403, "InvalidAccessKeyId"  # what SeaweedFS answers to a token of another store
    with pytest.raises(SettingsError, match=r"InvalidAccessKeyId.*AWS_ACCESS_KEY_ID.*AWS_SESSION_TOKEN"):
        s3.get("a")


def test_s3_store_address_tells_equal_urls_on_two_servers_apart(aws: pytest.MonkeyPatch) -> None:
    here = S3Store("bucket", "prefix")
    aws.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:10")
    there = S3Store("bucket", "prefix")
    assert here.url == there.url
    assert [here.address, there.address] == [f"s3://bucket/prefix at http://127.0.0.1:{port}" for port in (9, 10)]


def test_s3_store_is_unavailable_when_nobody_listens(aws: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreUnavailableError, match=r"some/key.*http://127\.0\.0\.1:9"):
        S3Store("bucket").get("some/key")


def test_s3_store_says_what_to_set_when_credentials_are_missing(aws: pytest.MonkeyPatch) -> None:
    aws.delenv("AWS_ACCESS_KEY_ID")
    aws.delenv("AWS_SECRET_ACCESS_KEY")
    aws.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(SettingsError, match="AWS_"):
        S3Store("bucket").get("some/key")


def test_s3_store_says_what_to_set_when_the_endpoint_is_no_url(aws: pytest.MonkeyPatch) -> None:
    aws.setenv("AWS_ENDPOINT_URL", "not a url")
    with pytest.raises(SettingsError, match="AWS_"):
        S3Store("bucket")


def test_s3_store_sends_the_content_as_it_is_and_its_checksum_in_a_header_over_https(
    aws: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Behind the content, as boto3 sends it by itself, servers that do not know that form store it as content."""
    aws.setenv("AWS_ENDPOINT_URL", "https://127.0.0.1:9")
    store, sent = S3Store("bucket"), []

    def answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        body = request.body if isinstance(request.body, bytes) else request.body.read()
        sent.append((dict(request.headers), body))
        response = AWSResponse(request.url, 200, {"ETag": '"1"'}, None)
        response._content = b""
        return response

    store._client.meta.events.register("before-send.s3.PutObject", answer)
    (tmp_path / "file").write_bytes(b"123456789" * 200_000)  # more than is read at a time
    store.put("a", b"123456789")
    store.upload_file("b", tmp_path / "file")
    assert [body for _, body in sent] == [b"123456789", (tmp_path / "file").read_bytes()]
    for headers, body in sent:
        assert headers["x-amz-checksum-sha256"] == base64.b64encode(hashlib.sha256(body).digest())
        assert int(headers["Content-Length"]) == len(body)
        assert not {"Content-Encoding", "Transfer-Encoding", "X-Amz-Trailer"} & headers.keys()


@pytest.mark.parametrize(
    ("variables", "region"),
    [
        ({}, "us-east-1"),
        ({"AWS_REGION": "eu-west-3"}, "eu-west-3"),
        ({"AWS_REGION": "eu-west-3", "AWS_DEFAULT_REGION": "eu-north-1"}, "eu-north-1"),
    ],
    ids=["none", "of Amazon's other clients", "boto3's own first"],
)
def test_s3_store_signs_for_the_region_that_the_environment_names(
    server: _ScriptedServer, aws: pytest.MonkeyPatch, variables: dict[str, str], region: str
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        aws.delenv(name, raising=False)
    for name, value in variables.items():
        aws.setenv(name, value)
    aws.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    S3Store("bucket").put("a", b"")
    assert f"/{region}/s3/aws4_request" in server.headers["Authorization"]


def test_stores_of_one_process_share_a_client_until_its_keys_may_have_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "first")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    now = 1000.0
    monkeypatch.setattr(s3_store_module.time, "monotonic", lambda: now)
    with ThreadPoolExecutor(8) as pool:
        clients = list(pool.map(lambda _: S3Store("bucket")._client, range(8)))
    assert len(set(map(id, clients))) == 1
    now += 301
    later = S3Store("other-bucket")._client
    assert later is not clients[0]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "second")
    assert S3Store("bucket")._client is not later
