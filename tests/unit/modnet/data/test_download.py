"""fetch_archive against a real HTTP server that misbehaves in each of the ways servers do."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from modnet.data import download
from modnet.data.download import PRESETS, fetch_archive
from modnet.errors import DatasetError, DownloadError


def zip_bytes(size: int = 200_000, seed: int = 0) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("noise.bin", np.random.default_rng(seed).bytes(size))
    return content.getvalue()


class Server(http.server.HTTPServer):
    """Serves `content` at every path, and misbehaves as its attributes say."""

    content = zip_bytes()
    validators: dict[str, str] = {"ETag": '"one"'}  # noqa: RUF012  # replaced, never changed
    status = 200
    sends_length = True
    cut_after: int | None = None
    ignores_range = False
    ignores_if_range = False
    content_range: str | None = None
    released: threading.Event | None = None
    pause_s = 0.0
    disturbed: Path | None = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[dict[str, str]] = []

    def url(self, path: str = "/portraits.zip") -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.seen.append(dict(self.headers))
        time.sleep(server.pause_s)
        if server.released is not None:
            server.released.wait(10)
            return
        if server.status != 200:
            self.send_error(server.status)
            return
        start = self._first_byte()
        if start >= len(server.content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        for name, value in server.validators.items():
            self.send_header(name, value)
        if server.sends_length:
            self.send_header("Content-Length", str(len(server.content) - start))
        if start:
            total = len(server.content)
            self.send_header("Content-Range", server.content_range or f"bytes {start}-{total - 1}/{total}")
        self.end_headers()
        if server.disturbed is not None:  # the client opens its file when it has the headers
            while not server.disturbed.exists():
                time.sleep(0.01)
            os.truncate(server.disturbed, len(server.content) + 1)
        self.wfile.write(server.content[start : server.cut_after])

    def _first_byte(self) -> int:
        if "Range" not in self.headers or self.server.ignores_range:
            return 0
        unchanged = self.headers["If-Range"] in self.server.validators.values()
        if not (unchanged or self.server.ignores_if_range):
            return 0
        return int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))

    def log_message(self, format: str, *args: object) -> None:
        """Keeps the test output quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        if running.released is not None:
            running.released.set()
        running.shutdown()
        thread.join()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def fetch_first_half(server: Server, folder: Path) -> Path:
    """Leaves the first half of the content in the .part file, which is returned."""
    server.cut_after = len(server.content) // 2
    with pytest.raises(DownloadError, match="another try resumes"):
        fetch_archive(server.url(), folder)
    server.cut_after = None
    part = folder / "portraits.zip.part"
    assert part.read_bytes() == server.content[: len(server.content) // 2]
    return part


def test_fetch_archive_returns_complete_file_when_server_behaves(server: Server, tmp_path: Path) -> None:
    archive = fetch_archive(server.url(), tmp_path / "new" / "folder", sha256=sha256(server.content).upper())
    assert archive == tmp_path / "new" / "folder" / "portraits.zip"
    assert archive.read_bytes() == server.content
    assert not archive.with_name("portraits.zip.part").exists()


@pytest.mark.parametrize("with_digest", [False, True])
def test_fetch_archive_asks_once_when_called_again(server: Server, tmp_path: Path, with_digest: bool) -> None:
    digest = sha256(server.content) if with_digest else None
    assert fetch_archive(server.url(), tmp_path, sha256=digest) == fetch_archive(server.url(), tmp_path, sha256=digest)
    assert len(server.seen) == 1


def test_fetch_archive_downloads_again_when_another_url_has_the_same_file_name(server: Server, tmp_path: Path) -> None:
    fetch_archive(server.url("/a/portraits.zip"), tmp_path)
    server.content = zip_bytes(seed=1)
    assert fetch_archive(server.url("/b/portraits.zip"), tmp_path).read_bytes() == server.content


def test_fetch_archive_keeps_old_archive_apart_when_another_url_is_cut(server: Server, tmp_path: Path) -> None:
    fetch_archive(server.url("/a/portraits.zip"), tmp_path)
    server.content, server.cut_after = zip_bytes(seed=1), 1000
    with pytest.raises(DownloadError):
        fetch_archive(server.url("/b/portraits.zip"), tmp_path)
    server.cut_after = None
    assert fetch_archive(server.url("/b/portraits.zip"), tmp_path).read_bytes() == server.content


def test_fetch_archive_resumes_when_connection_was_cut(server: Server, tmp_path: Path) -> None:
    part = fetch_first_half(server, tmp_path)
    size = part.stat().st_size
    assert fetch_archive(server.url(), tmp_path, sha256=sha256(server.content)).read_bytes() == server.content
    assert server.seen[-1]["Range"] == f"bytes={size}-"
    assert server.seen[-1]["If-Range"] == '"one"'


@pytest.mark.parametrize(
    ("validators", "if_range"),
    [
        ({"ETag": 'W/"weak"', "Last-Modified": "Sun, 22 Nov 2026 00:00:00 GMT"}, "Sun, 22 Nov 2026 00:00:00 GMT"),
        ({"ETag": 'W/"weak"'}, None),
        ({}, None),
    ],
    ids=["date instead of weak tag", "weak tag only", "nothing"],
)
def test_fetch_archive_resumes_only_when_server_names_a_strong_validator(
    server: Server, tmp_path: Path, validators: dict[str, str], if_range: str | None
) -> None:
    server.validators = validators
    fetch_first_half(server, tmp_path)
    assert fetch_archive(server.url(), tmp_path).read_bytes() == server.content
    assert server.seen[-1].get("If-Range") == if_range
    assert ("Range" in server.seen[-1]) == (if_range is not None)


@pytest.mark.parametrize(
    "change",
    [
        {"validators": {"ETag": '"two"'}},
        {"validators": {"ETag": '"two"'}, "ignores_if_range": True},
        {"ignores_range": True},
        {"content_range": "bytes 0-9/10"},
        {"content_range": "nonsense"},
        {"content": zip_bytes(1000), "ignores_if_range": True},
    ],
    ids=["changed", "changed, If-Range ignored", "Range ignored", "other range", "no range", "now shorter (416)"],
)
def test_fetch_archive_starts_over_when_the_rest_does_not_fit(
    server: Server, tmp_path: Path, change: dict[str, object]
) -> None:
    fetch_first_half(server, tmp_path)
    if "content" not in change:
        server.content = zip_bytes(seed=2)
    for name, value in change.items():
        setattr(server, name, value)
    assert fetch_archive(server.url(), tmp_path).read_bytes() == server.content


@pytest.mark.parametrize("note", ["", "{", '{"url_sha256": 1}'])
def test_fetch_archive_starts_over_when_its_note_is_damaged(server: Server, tmp_path: Path, note: str) -> None:
    fetch_first_half(server, tmp_path)
    (tmp_path / "portraits.zip.origin.json").write_text(note)
    assert fetch_archive(server.url(), tmp_path).read_bytes() == server.content
    assert "Range" not in server.seen[-1]


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_fetch_archive_raises_transient_error_when_server_fails_in_passing(
    server: Server, tmp_path: Path, status: int
) -> None:
    part = fetch_first_half(server, tmp_path)
    server.status = status
    with pytest.raises(DownloadError, match=str(status)):
        fetch_archive(server.url(), tmp_path)
    assert part.exists()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_fetch_archive_raises_lasting_error_when_server_refuses(server: Server, tmp_path: Path, status: int) -> None:
    server.status = status
    with pytest.raises(DatasetError, match=str(status)) as caught:
        fetch_archive(server.url(), tmp_path)
    assert not isinstance(caught.value, DownloadError)


def test_fetch_archive_raises_transient_error_when_server_is_silent(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TIMEOUT_S", 0.2)
    server.released = threading.Event()
    with pytest.raises(DownloadError, match="timed out"):
        fetch_archive(server.url(), tmp_path)


def test_fetch_archive_raises_transient_error_when_nobody_listens(tmp_path: Path) -> None:
    with Server() as closed:
        url = closed.url()
    with pytest.raises(DownloadError, match="no answer"):
        fetch_archive(url, tmp_path)


def test_fetch_archive_removes_download_and_names_both_digests_when_they_differ(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=f"wanted SHA-256 {'0' * 64}, got {sha256(server.content)}"):
        fetch_archive(server.url(), tmp_path, sha256="0" * 64)
    assert not (tmp_path / "portraits.zip").exists()


def test_fetch_archive_replaces_file_when_the_one_here_has_another_digest(server: Server, tmp_path: Path) -> None:
    (tmp_path / "portraits.zip").write_bytes(zip_bytes(seed=3))
    archive = fetch_archive(server.url(), tmp_path, sha256=sha256(server.content))
    assert archive.read_bytes() == server.content


def test_fetch_archive_removes_download_when_it_is_no_zip(server: Server, tmp_path: Path) -> None:
    server.content = b"<html>please log in</html>"
    with pytest.raises(DatasetError, match="not a zip"):
        fetch_archive(server.url(), tmp_path)
    assert not (tmp_path / "portraits.zip").exists()


@pytest.mark.parametrize("sends_length", [True, False])
def test_fetch_archive_stops_when_download_is_too_large(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sends_length: bool
) -> None:
    monkeypatch.setattr(download, "MAX_BYTES", 1000)
    server.sends_length = sends_length
    with pytest.raises(DatasetError, match="1000"):
        fetch_archive(server.url(), tmp_path)
    assert not (tmp_path / "portraits.zip").exists()
    assert not (tmp_path / "portraits.zip.part").exists()


def test_fetch_archive_downloads_again_when_another_url_was_too_large_before(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_archive(server.url("/a/portraits.zip"), tmp_path)
    server.content, server.sends_length = zip_bytes(seed=1), False
    with monkeypatch.context() as small:
        small.setattr(download, "MAX_BYTES", 1000)
        with pytest.raises(DatasetError, match="more than the allowed"):
            fetch_archive(server.url("/b/portraits.zip"), tmp_path)
    assert fetch_archive(server.url("/b/portraits.zip"), tmp_path).read_bytes() == server.content


def test_fetch_archive_asks_once_when_called_twice_at_a_time(server: Server, tmp_path: Path) -> None:
    server.pause_s = 0.2
    with ThreadPoolExecutor(max_workers=2) as pool:
        archives = list(pool.map(lambda url: fetch_archive(url, tmp_path), [server.url()] * 2))
    assert archives[0].read_bytes() == server.content
    assert archives[0] == archives[1]
    assert len(server.seen) == 1


def test_fetch_archive_starts_over_when_another_process_wrote_into_the_download(server: Server, tmp_path: Path) -> None:
    server.disturbed = tmp_path / "portraits.zip.part"
    with pytest.raises(DownloadError, match="another process wrote"):
        fetch_archive(server.url(), tmp_path)
    server.disturbed = None
    assert fetch_archive(server.url(), tmp_path).read_bytes() == server.content
    assert "Range" not in server.seen[-1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_fetch_archive_names_folder_when_disk_is_full(server: Server, tmp_path: Path) -> None:
    (tmp_path / "portraits.zip.part").symlink_to("/dev/full")
    with pytest.raises(DatasetError, match=f"{tmp_path}.*No space left") as caught:
        fetch_archive(server.url(), tmp_path)
    assert not isinstance(caught.value, DownloadError)


def test_fetch_archive_names_folder_when_it_is_a_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(DatasetError, match="taken"):
        fetch_archive(server.url(), tmp_path / "taken")


def test_fetch_archive_keeps_secrets_out_of_messages_and_files(server: Server, tmp_path: Path) -> None:
    server.cut_after = 1000
    with pytest.raises(DownloadError) as caught:
        fetch_archive(server.url("/portraits.zip?signature=hunter2"), tmp_path)
    with pytest.raises(DatasetError) as refused:
        fetch_archive("http://user:hunter2@127.0.0.1/portraits.zip", tmp_path)
    written = "".join(path.read_text("latin-1") for path in tmp_path.iterdir() if path.suffix == ".json")
    assert written
    assert "hunter2" not in f"{caught.value}{refused.value}{written}"


@pytest.mark.parametrize("path", ["/", "/..", "/a/%2e%2e", "/a%00.zip", "/a%5cb.zip"])
def test_fetch_archive_refuses_url_when_its_file_name_is_unsafe(server: Server, tmp_path: Path, path: str) -> None:
    with pytest.raises(DatasetError, match="file name"):
        fetch_archive(server.url(path), tmp_path)
    assert not server.seen


@pytest.mark.parametrize("url", ["http://[::1/a.zip", "http://127.0.0.1:port/a.zip", "ftp://127.0.0.1/a.zip"])
def test_fetch_archive_refuses_url_when_it_is_malformed_or_of_another_kind(tmp_path: Path, url: str) -> None:
    with pytest.raises(DatasetError, match="URL"):
        fetch_archive(url, tmp_path)


@pytest.mark.parametrize("as_url", [False, True])
def test_fetch_archive_leaves_local_file_in_place(tmp_path: Path, as_url: bool) -> None:
    source = tmp_path / "my portraits.zip"
    source.write_bytes(zip_bytes())
    archive = fetch_archive(source.as_uri() if as_url else str(source), tmp_path / "downloads")
    assert archive == source
    assert not (tmp_path / "downloads").exists()


def test_fetch_archive_keeps_local_file_when_digest_is_wrong(tmp_path: Path) -> None:
    source = tmp_path / "portraits.zip"
    source.write_bytes(zip_bytes())
    with pytest.raises(DatasetError, match="wanted SHA-256"):
        fetch_archive(str(source), tmp_path, sha256="0" * 64)
    assert source.exists()


def test_fetch_archive_names_path_and_presets_when_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=f"absent.zip.*{next(iter(PRESETS))}"):
        fetch_archive(str(tmp_path / "absent.zip"), tmp_path)
