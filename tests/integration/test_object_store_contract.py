"""The same tests on a folder and on a real S3 server; then what the server allows to a device."""

from __future__ import annotations

import hashlib
import multiprocessing
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from botocore.awsrequest import AWSPreparedRequest

from infra.device.documents.file_digest import FileDigest
from infra.device.errors import (
    ConflictError,
    ContractError,
    DigestMismatchError,
    NotStoredError,
    SettingsError,
    StoreUnavailableError,
)
from infra.device.stores import s3_store as s3_store_module
from infra.device.stores.folder_store import FolderStore
from infra.device.stores.object_store import ObjectStore, open_store
from infra.device.stores.s3_store import S3Store


@pytest.fixture(autouse=True)
def own_client() -> Iterator[None]:
    """What a test registers with the client of this process is gone after it."""
    yield
    s3_store_module._client.cache_clear()


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """An empty store; on S3 a prefix of its own, which `open_store` opens in this test and its child processes."""
    if request.param == "folder":
        return FolderStore(tmp_path / "store")
    for name, value in request.getfixturevalue("s3_environ")("pipeline").items():
        monkeypatch.setenv(name, value)
    return open_store(f"s3://modnet/tests/{uuid4().hex}")


def test_get_gives_what_was_put(store: ObjectStore) -> None:
    for data in (b"", b"first", bytes(range(256)) * 1000):
        etag = store.put("a/b c/d.bin", data)
        assert store.get("a/b c/d.bin") == data
        assert store.get_with_etag("a/b c/d.bin") == (data, etag)


def test_put_refuses_content_that_was_damaged_on_the_way(s3_store: Callable[[str], S3Store]) -> None:
    store, key = s3_store("pipeline"), f"tests/{uuid4().hex}"

    def damage(request: AWSPreparedRequest, **_: object) -> None:
        request.body = b"anothEr"

    store._client.meta.events.register("before-send.s3.PutObject", damage)
    with pytest.raises(StoreUnavailableError, match="BadDigest"):
        store.put(key, b"another")
    assert not store.exists(key)


def test_get_says_not_stored_when_the_key_is_missing(store: ObjectStore, tmp_path: Path) -> None:
    store.put("a/b", b"")
    for read in (store.get, store.get_with_etag, lambda key: store.download_file(key, tmp_path / "copy")):
        for key in ("a/c", "a", "z"):
            with pytest.raises(NotStoredError, match=key):
                read(key)
    assert not (tmp_path / "copy").exists()


def test_readers_refuse_an_object_beyond_max_bytes(store: ObjectStore, tmp_path: Path) -> None:
    store.put("a", b"12345")
    assert store.get("a", max_bytes=5) == b"12345"
    with pytest.raises(ContractError, match="5 bytes, wanted at most 4"):
        store.get("a", max_bytes=4)
    with pytest.raises(ContractError, match="5 bytes, wanted at most 4"):
        store.download_file("a", tmp_path / "copy", max_bytes=4)
    assert not (tmp_path / "copy").exists()
    store.download_file("a", tmp_path / "copy", max_bytes=5)
    assert (tmp_path / "copy").read_bytes() == b"12345"


def test_exists_says_whether_a_key_holds_an_object(store: ObjectStore) -> None:
    store.put("a/b", b"")
    assert [store.exists(key) for key in ("a/b", "a", "a/bc")] == [True, False, False]


def test_link_opens_the_object_without_credentials(store: ObjectStore) -> None:
    store.put("a/page.html", b"<p>page</p>")
    with urllib.request.urlopen(store.link("a/page.html"), timeout=10) as answer:
        assert answer.read() == b"<p>page</p>"
        assert answer.headers["Content-Type"] == "text/html"


def test_put_if_absent_keeps_the_first(store: ObjectStore) -> None:
    store.put("a", b"first", if_absent=True)
    with pytest.raises(ConflictError, match="a"):
        store.put("a", b"second", if_absent=True)
    assert store.get("a") == b"first"


def test_put_if_match_replaces_only_what_was_read(store: ObjectStore) -> None:
    first = store.put("a", b"first")
    second = store.put("a", b"second", if_match=first)
    with pytest.raises(ConflictError):
        store.put("a", b"third", if_match=first)
    assert store.get_with_etag("a") == (b"second", second)


def test_put_if_match_refuses_when_the_object_is_gone(store: ObjectStore) -> None:
    etag = store.put("a", b"first")
    store.delete("a")
    with pytest.raises(ConflictError):
        store.put("a", b"second", if_match=etag)
    assert not store.exists("a")


def test_upload_file_and_download_file_keep_the_content(store: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 20_000)
    store.upload_file("big", source)
    store.download_file("big", tmp_path / "made" / "copy")
    assert (tmp_path / "made" / "copy").read_bytes() == source.read_bytes()
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["copy"]


def _digest(data: bytes) -> FileDigest:
    return FileDigest(hashlib.sha256(data).hexdigest(), len(data))


CONTENT = bytes(range(256)) * 20_000


def _put_without_sha256(store: ObjectStore, key: str, data: bytes) -> None:
    """As version 0.1.0 and other clients do: the server keeps no SHA-256 of the object."""
    if isinstance(store, S3Store):
        store._client.put_object(Bucket="modnet", Key=store._full(key), Body=data, ChecksumAlgorithm="CRC32")
    else:
        store.put(key, data)


@pytest.mark.parametrize("put", [lambda store, *given: store.put(*given), _put_without_sha256], ids=["ours", "old"])
def test_digest_says_what_the_bytes_are_and_copy_keeps_them(
    store: ObjectStore, put: Callable[[ObjectStore, str, bytes], object]
) -> None:
    for number, data in enumerate((b"", CONTENT)):
        put(store, "a/b c+ü%.bin", data)
        assert store.digest("a/b c+ü%.bin", max_bytes=len(data)) == _digest(data)
        store.copy("a/b c+ü%.bin", f"copy/{number}", _digest(data), if_absent=True)
        put(store, "a/b c+ü%.bin", b"the source may change, the copy does not")
        assert store.get(f"copy/{number}") == data
        assert store.digest(f"copy/{number}") == _digest(data)


@pytest.mark.parametrize("put", [lambda store, *given: store.put(*given), _put_without_sha256], ids=["ours", "old"])
@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (FileDigest("0" * 64, 5), DigestMismatchError),
        (FileDigest(_digest(b"12345").sha256, 6), DigestMismatchError),
        (FileDigest(_digest(b"12345").sha256, 4), ContractError),
    ],
    ids=["other bytes", "longer", "shorter"],
)
def test_copy_writes_nothing_when_the_content_is_another(
    store: ObjectStore,
    put: Callable[[ObjectStore, str, bytes], object],
    wanted: FileDigest,
    error: type[Exception],
) -> None:
    put(store, "a", b"12345")
    with pytest.raises(error, match="a in"):
        store.copy("a", "b", wanted)
    assert store.list("") == ["a"]


def test_copy_and_digest_say_not_stored_when_the_source_is_missing(store: ObjectStore) -> None:
    store.put("a/b", b"")
    for read in (store.digest, lambda key: store.copy(key, "copy", _digest(b""))):
        for key in ("a", "z"):
            with pytest.raises(NotStoredError, match=key):
                read(key)
    assert not store.exists("copy")


def test_copy_if_absent_keeps_the_first(store: ObjectStore) -> None:
    store.put("a", b"first")
    store.put("b", b"second")
    store.copy("a", "c", _digest(b"first"), if_absent=True)
    with pytest.raises(ConflictError):
        store.copy("b", "c", _digest(b"second"), if_absent=True)
    assert store.get("c") == b"first"
    store.copy("b", "c", _digest(b"second"))
    assert store.get("c") == b"second"


def test_copy_refuses_a_source_that_changed_after_it_was_looked_at(
    s3_store: Callable[[str], S3Store],
) -> None:
    """In a folder, both are one pass over one open file."""
    store, key = s3_store("pipeline"), f"tests/{uuid4().hex}"
    store.put(key, b"right")

    def write_over(**_: object) -> None:
        store.put(key, b"wrong")

    store._client.meta.events.register("before-call.s3.CopyObject", write_over)
    with pytest.raises(ConflictError):
        store.copy(key, f"{key}-copy", _digest(b"right"), if_absent=True)
    assert not store.exists(f"{key}-copy")


def test_copy_moves_no_content_through_this_machine_where_the_server_keeps_digests(
    s3_store: Callable[[str], S3Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, key = s3_store("pipeline"), f"tests/{uuid4().hex}"
    store.put(key, CONTENT)
    asked: list[str] = []
    store._client.meta.events.register("before-call.s3", lambda model, **_: asked.append(model.name))
    store.copy(key, f"{key}-copy", _digest(CONTENT), if_absent=True)
    assert asked == ["HeadObject", "CopyObject"]


def test_digest_of_what_another_client_uploaded_in_parts_is_that_of_the_whole(
    s3_store: Callable[[str], S3Store],
) -> None:
    """What S3 keeps of such an object is a digest of its parts' digests."""
    store, key = s3_store("pipeline"), f"tests/{uuid4().hex}"
    where = {"Bucket": "modnet", "Key": key}
    upload = store._client.create_multipart_upload(**where, ChecksumAlgorithm="SHA256")["UploadId"]
    parts = []
    for number, data in enumerate((CONTENT + CONTENT, b"end"), start=1):
        part = store._client.upload_part(
            **where, UploadId=upload, PartNumber=number, Body=data, ChecksumAlgorithm="SHA256"
        )
        parts.append({"PartNumber": number, "ETag": part["ETag"], "ChecksumSHA256": part["ChecksumSHA256"]})
    store._client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})
    whole = CONTENT + CONTENT + b"end"
    assert store.digest(key) == _digest(whole)
    store.copy(key, f"{key}-copy", _digest(whole))
    assert store.digest(f"{key}-copy") == _digest(whole)


def test_list_gives_every_key_below_a_prefix_in_order(store: ObjectStore) -> None:
    keys = ["a/1", "a/10", "a/2", "ab/1", "b", "a-b/c/d"]
    for key in keys:
        store.put(key, b"")
    assert store.list("") == sorted(keys)
    assert store.list("a/") == ["a/1", "a/10", "a/2"]
    assert store.list("a/1") == ["a/1", "a/10"]
    assert store.list("a") == sorted(key for key in keys if key.startswith("a"))
    assert store.list("none/") == []
    assert store.sizes("a/") == dict.fromkeys(["a/1", "a/10", "a/2"], 0)
    assert store.folders("none/") == ()
    store.put("c/d/e", b"12")
    store.put("c/f", b"")
    assert (store.folders("c/"), store.sizes("c/d/")) == (("d",), {"c/d/e": 2})


def test_written_says_when_an_object_was_last_written(store: ObjectStore) -> None:
    began = datetime.now(UTC) - timedelta(seconds=2)  # S3 tells whole seconds
    etag = store.put("a/1", b"same")
    store.put("a/2", b"")
    store.put("b", b"")
    first = store.written("a/")
    assert list(first) == ["a/1", "a/2"]
    assert all(began <= one <= datetime.now(UTC) + timedelta(seconds=2) for one in first.values())
    assert store.written("none/") == {}
    time.sleep(1.1)
    assert store.put("a/1", b"same", if_match=etag) == etag  # the same content again is written anew
    second = store.written("a/1")
    assert second["a/1"] > first["a/1"]
    assert store.written("a/2") == {"a/2": first["a/2"]}


def test_list_gives_all_pages(store: ObjectStore) -> None:
    keys = [f"many/{number:04d}" for number in range(1005)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put(key, b""), keys))
    assert store.list("many/") == keys


def test_delete_removes_and_may_be_repeated(store: ObjectStore) -> None:
    store.put("a", b"")
    for _ in range(2):
        store.delete("a")
        assert not store.exists("a")
    assert store.list("") == []


@pytest.mark.parametrize("key", ["../a", "/a", "a//b", ""])
def test_every_operation_refuses_an_unsafe_key(store: ObjectStore, tmp_path: Path, key: str) -> None:
    store.put("a", b"")
    operations: list[Callable[[str], object]] = [
        lambda key: store.put(key, b""),
        store.get,
        store.exists,
        store.delete,
        lambda key: store.upload_file(key, Path(__file__)),
        lambda key: store.download_file(key, tmp_path / "copy"),
        store.digest,
        lambda key: store.copy(key, "b", _digest(b"")),
        lambda key: store.copy("a", key, _digest(b"")),
    ]
    for operation in operations:
        with pytest.raises(ContractError, match="key"):
            operation(key)


def _write_first(url: str, me: int, winners: multiprocessing.Queue[int]) -> None:
    try:
        open_store(url).put("raced", str(me).encode(), if_absent=True)
        winners.put(me)
    except ConflictError:
        pass


def _copy_first(url: str, me: int, winners: multiprocessing.Queue[int]) -> None:
    content = str(me).encode()
    store = open_store(url)
    store.put(f"source/{me}", content)
    try:
        store.copy(f"source/{me}", "raced", _digest(content), if_absent=True)
        winners.put(me)
    except ConflictError:
        pass


def _count_up(url: str, times: int) -> None:
    store = open_store(url)
    for _ in range(times):
        while True:
            data, etag = store.get_with_etag("counter")
            try:
                store.put("counter", str(int(data) + 1).encode(), if_match=etag)
                break
            except ConflictError:
                continue


def _in_processes(target: Callable[..., None], arguments: list[tuple[object, ...]]) -> None:
    processes = [multiprocessing.get_context("fork").Process(target=target, args=args) for args in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(processes)


@pytest.mark.parametrize("write", [_write_first, _copy_first])
def test_put_and_copy_if_absent_have_one_winner_when_processes_race(
    store: ObjectStore, write: Callable[..., None]
) -> None:
    winners: multiprocessing.Queue[int] = multiprocessing.Queue()
    _in_processes(write, [(store.url, me, winners) for me in range(4)])
    assert store.get("raced") == str(winners.get(timeout=5)).encode()
    assert winners.empty()


def test_put_if_match_loses_no_update_when_processes_race(store: ObjectStore) -> None:
    store.put("counter", b"0")
    _in_processes(_count_up, [(store.url, 10) for _ in range(3)])
    assert store.get("counter") == b"30"


@pytest.fixture(scope="module")
def device(s3_store: Callable[[str], ObjectStore]) -> ObjectStore:
    """The store as a device sees it, with one object of each kind in it."""
    pipeline = s3_store("pipeline")
    for key in ("releases/r/manifest.json", "targets/t/current.json", "reports/r/d/1.json", "datasets/d"):
        pipeline.put(key, b"pipeline's")
    return s3_store("device")


@pytest.mark.parametrize("key", ["releases/r/manifest.json", "targets/t/current.json"])
def test_device_reads_releases_and_targets(device: ObjectStore, key: str) -> None:
    assert device.get(key) == b"pipeline's"
    assert device.exists(key)
    assert key in device.list(key.partition("/")[0] + "/")


def test_device_learns_that_nothing_was_promoted(device: ObjectStore) -> None:
    with pytest.raises(NotStoredError):
        device.get("targets/none/current.json")


@pytest.mark.parametrize("key", ["reports/r/d/1.json", "datasets/d"])
def test_device_is_refused_to_read_anything_else(device: ObjectStore, key: str) -> None:
    with pytest.raises(SettingsError, match=r"refused.*AWS_ACCESS_KEY_ID"):
        device.get(key)


@pytest.mark.parametrize("prefix", ["", "reports/", "reports/r/", "datasets/", "rel"])
def test_device_is_refused_to_list_anything_else(device: ObjectStore, prefix: str) -> None:
    with pytest.raises(SettingsError, match="refused"):
        device.list(prefix)


@pytest.mark.parametrize("key", ["releases/r/evil", "targets/t/current.json", "reports/d/r/1.json", "tuf/a", "a"])
def test_device_is_refused_to_write(device: ObjectStore, key: str) -> None:
    with pytest.raises(SettingsError, match="refused"):
        device.put(key, b"device's")


def test_ingest_adds_a_report_and_reads_and_lists_reports(
    device: ObjectStore, s3_store: Callable[[str], S3Store]
) -> None:
    ingest, key = s3_store("ingest"), f"reports/d/r/{uuid4().hex}.json"
    ingest.put(key, b"{}", if_absent=True)
    with pytest.raises(ConflictError):
        ingest.put(key, b"{}", if_absent=True)
    assert ingest.sizes("reports/d/")[key] == len(ingest.get(key))
    for use in (lambda: ingest.put("targets/t/current.json", b"{}"), lambda: ingest.get("datasets/d")):
        with pytest.raises(SettingsError, match="refused"):
            use()


@pytest.mark.parametrize("key", ["releases/r/manifest.json", "targets/t/current.json", "reports/r/d/1.json"])
def test_device_is_refused_to_delete(s3_store: Callable[[str], ObjectStore], device: ObjectStore, key: str) -> None:
    with pytest.raises(SettingsError, match="refused"):
        device.delete(key)
    assert s3_store("pipeline").get(key) == b"pipeline's"


def test_policy_of_the_pipeline_allows_all_below_its_prefix_and_nothing_else(
    s3_environ: Callable[[str], dict[str, str]], s3_store: Callable[[str], ObjectStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_environ("policied").items():
        monkeypatch.setenv(name, value)
    own = open_store(f"s3://modnet/policied/{uuid4().hex}")
    etag = own.put("a", b"first", if_absent=True)
    own.put("a", b"second", if_match=etag)
    own.copy("a", "b", own.digest("a"))
    assert own.list("") == ["a", "b"]
    own.delete("a")
    assert not own.exists("a")
    s3_store("pipeline").put("elsewhere/a", b"another's")
    whole = open_store("s3://modnet")
    refused: list[Callable[[], object]] = [
        lambda: whole.get("elsewhere/a"),
        lambda: whole.put("elsewhere/b", b""),
        lambda: whole.delete("elsewhere/a"),
        lambda: whole.list("elsewhere/"),
    ]
    for operation in refused:
        with pytest.raises(SettingsError):
            operation()
    assert s3_store("pipeline").get("elsewhere/a") == b"another's"


def test_store_refuses_a_wrong_secret(
    s3_environ: Callable[[str], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {**s3_environ("pipeline"), "AWS_SECRET_ACCESS_KEY": "guessed"}
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match="refused"):
        open_store("s3://modnet").get("targets/t/current.json")
