"""Tokens at a real ingest: what gives a key, once, and what does not; and what a device needs on ARM."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from infra.device.cli.enrol import enrol
from infra.device.documents.grant import SECRET_DIGITS
from infra.device.errors import StoreRefusesError
from infra.ingest.enrolment import MAX_BYTES, PER_MINUTE
from infra.ingest.invitations import Invitations, Place
from tests.integration.conftest import IngestServer
from tests.signing import root_file


@pytest.fixture(scope="module")
def own_ingest(start_ingest: Callable[..., IngestServer]) -> IngestServer:
    """One whose tokens no other test counts."""
    return start_ingest()


@pytest.fixture
def invite(own_ingest: IngestServer) -> Callable[..., str]:
    """A function that makes a token of `device`."""
    invitations = Invitations(own_ingest.log.with_name("invitations.json"))
    place = Place("s3://modnet", None, "eu-north-1", ("cpu-int8",), root_file().read_bytes())
    return lambda **more: invitations.add("device", place, **more)


def ask(
    url: str, body: bytes, method: str = "POST", path: str = "/enrol", has_length: bool = True
) -> tuple[int, dict[str, Any]]:
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)) as connection:
        connection.putrequest(method, path)
        if has_length:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body if has_length else None)
        with connection.getresponse() as answer:
            return answer.status, json.loads(answer.read())


def _secret(token: str) -> bytes:
    return json.dumps({"token": token[:SECRET_DIGITS]}).encode()


def test_a_token_enrols_once_and_then_says_when_it_was_used(
    own_ingest: IngestServer, invite: Callable[..., str], tmp_path: Path
) -> None:
    token = invite()
    config = enrol(own_ingest.url, token, tmp_path / "first" / "agent.toml")
    assert (config.device, config.region, config.root.read_bytes()) == (
        "device",
        "eu-north-1",
        root_file().read_bytes(),
    )
    assert config.key_file is not None
    assert "aws_secret_access_key = device-secret\n" in config.key_file.read_text()
    with pytest.raises(StoreRefusesError, match=r"403 used: the token of device 'device' was used at 20\d+T\d+"):
        enrol(own_ingest.url, token, tmp_path / "second" / "agent.toml")
    assert list((tmp_path / "second").iterdir()) == []
    log = own_ingest.log.read_text()
    assert "device device has its key" in log
    assert token[:SECRET_DIGITS] not in log
    assert "device-secret" not in log


def test_a_token_that_has_ended_enrols_nobody(
    own_ingest: IngestServer, invite: Callable[..., str], tmp_path: Path
) -> None:
    token = invite(now=datetime.now(UTC) - timedelta(hours=1, seconds=1))
    with pytest.raises(StoreRefusesError, match="403 expired: the token of device 'device' ended at"):
        enrol(own_ingest.url, token, tmp_path / "agent.toml")


def test_of_two_at_once_one_has_the_key(own_ingest: IngestServer, invite: Callable[..., str]) -> None:
    body = _secret(invite())
    with ThreadPoolExecutor(2) as both:
        answers = list(both.map(lambda _: ask(own_ingest.url, body), range(2)))
    assert sorted(status for status, _ in answers) == [200, 403]


def test_another_request_is_refused_with_words(own_ingest: IngestServer, invite: Callable[..., str]) -> None:
    body = _secret(invite())
    answers = {
        "large": ask(own_ingest.url, b" " * (MAX_BYTES + 1)),
        "malformed": ask(own_ingest.url, b"[]"),
        "token": ask(own_ingest.url, _secret("0" * SECRET_DIGITS)),
        "method": ask(own_ingest.url, body, "GET"),
        "path": ask(own_ingest.url, body, "PUT"),
        "length": ask(own_ingest.url, body, has_length=False),
    }
    assert {code: (status, answer["error"]) for code, (status, answer) in answers.items()} == {
        "large": (413, "large"),
        "malformed": (422, "malformed"),
        "token": (401, "token"),
        "method": (405, "method"),
        "path": (404, "path"),
        "length": (411, "length"),
    }
    assert ask(own_ingest.url, body)[0] == 200  # none of them has spent it


def test_who_tries_many_tokens_has_to_wait(start_ingest: Callable[..., IngestServer]) -> None:
    guessed = start_ingest()
    codes = {ask(guessed.url, _secret("0" * SECRET_DIGITS))[0] for _ in range(PER_MINUTE + 10)}
    assert codes == {401, 429}


@pytest.mark.slow
@pytest.mark.parametrize("python", ["3.11", "3.9"])
def test_what_a_device_needs_is_there_for_64_bit_arm(python: str, tmp_path: Path) -> None:
    """As pip resolves it for such a device; nothing is downloaded."""
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed"]
    command += ["--target", str(tmp_path / "device"), "--report", str(report), "--only-binary=:all:"]
    command += ["--python-version", python, "--implementation", "cp"]
    for platform in ("manylinux2014_aarch64", "manylinux_2_28_aarch64", "manylinux_2_31_aarch64"):
        command += ["--platform", platform]
    urllib3 = ["urllib3<1.27"] if python == "3.9" else []  # pip asks for the one of its own Python
    ended = subprocess.run(
        [*command, "openvino", "boto3", "cryptography", *urllib3], capture_output=True, text=True, check=False
    )
    if any(words in ended.stderr for words in ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError")):
        pytest.skip("no package registry here")
    assert ended.returncode == 0, ended.stderr
    found = {one["metadata"]["name"]: one["download_info"]["url"] for one in json.loads(report.read_text())["install"]}
    assert {"openvino", "numpy", "boto3", "cryptography"} <= found.keys()
    for name in ("openvino", "numpy", "cryptography"):
        assert "aarch64" in found[name], found[name]
