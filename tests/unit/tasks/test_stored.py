"""Records in the store: same question, same key; an answer that is there is not computed again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from infra.device.errors import ContractError, DigestMismatchError, NotStoredError
from infra.device.stores.folder_store import FolderStore
from modnet.records import ReleaseRecord, RetrainReport, TrainingReport
from tasks.stored import STAGE_VERSIONS, fetch, fetch_to, get_record, identify, once, put_file, put_record, upload


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def test_identify_is_the_same_when_the_question_is_the_same() -> None:
    assert identify(a=1, b=[2, 3]) == identify(b=[2, 3], a=1)
    assert identify(a=1) != identify(a=2)


def test_identify_keeps_its_name_for_a_known_question() -> None:
    """Golden: when this changes, every name in every store changes."""
    assert identify(pruning={"ratio": 0.5, "exclude": ["head"]}, seed=0) == "8626b15c6d67"
    data = {"dataset": 3, "check": 1}
    stages = {"base": 4, "prune": 2, "retrain": 7, "evaluate": 3, "export": 7, "sensitivity": 2}
    assert data | stages == STAGE_VERSIONS


def test_fetch_gives_what_was_put_and_verifies_it(store: FolderStore, tmp_path: Path) -> None:
    file = put_file(store, "a/b.bin", b"content")
    (tmp_path / "c.bin").write_bytes(b"content")
    assert upload(store, "a/c.bin", tmp_path / "c.bin").sha256 == file.sha256
    assert fetch(store, file, tmp_path / "cache").read_bytes() == b"content"


def test_put_file_never_writes_over_the_file_of_another_answer(store: FolderStore, tmp_path: Path) -> None:
    first, second = (put_file(store, "a/b.v2.bin", content) for content in (b"content", b"c0ntent"))
    assert first.key == f"a/b.v2-{first.sha256[:12]}.bin"
    (tmp_path / "local").write_bytes(b"content")
    assert upload(store, "a/b.v2.bin", tmp_path / "local") == first
    assert [store.get(file.key) for file in (first, second)] == [b"content", b"c0ntent"]


def test_fetch_raises_and_keeps_nothing_when_bytes_are_others(store: FolderStore, tmp_path: Path) -> None:
    file = put_file(store, "a/b.bin", b"content")
    store.put(file.key, b"c0ntent")
    with pytest.raises(DigestMismatchError, match=f"{file.key}: got SHA-256"):
        fetch(store, file, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_fetch_to_replaces_a_local_file_that_is_not_the_right_one(store: FolderStore, tmp_path: Path) -> None:
    file = put_file(store, "a/b.bin", b"content")
    (tmp_path / "b.bin").write_bytes(b"of another network")
    fetch_to(store, file, tmp_path / "b.bin")
    assert (tmp_path / "b.bin").read_bytes() == b"content"


@pytest.mark.parametrize("content", [b"", b"{", b'{"release_id": 3}', b"[]"])
def test_get_record_raises_when_content_is_no_record(store: FolderStore, content: bytes) -> None:
    store.put("r.json", content)
    with pytest.raises(ContractError, match="r.json is not a ReleaseRecord of this version"):
        get_record(store, "r.json", ReleaseRecord)
    with pytest.raises(NotStoredError):
        get_record(store, "other.json", ReleaseRecord)


def make_report(store: FolderStore, key: str, weights: bytes = b"weights") -> RetrainReport:
    training = TrainingReport(steps=1, images_seen=1, history=(), best_epoch=None, precision="fp32", seconds=1)
    return RetrainReport(candidate_id="c", checkpoint=put_file(store, key, weights), training=training)


def test_once_computes_only_when_record_or_file_is_missing(store: FolderStore) -> None:
    calls = []

    def compute() -> RetrainReport:
        calls.append(1)
        return make_report(store, "c/w.bin")

    def ask() -> RetrainReport:
        return once(store, "c/r.json", RetrainReport, compute)

    report = ask()
    assert ask() == report
    assert len(calls) == 1
    store.delete(report.checkpoint.key)
    ask()
    assert len(calls) == 2
    store.put("c/r.json", b'{"of": "another version"}')
    ask()
    assert len(calls) == 3


@pytest.mark.parametrize("earlier", [None, b'{"of": "another version"}'], ids=["nothing", "another version"])
def test_once_gives_the_first_answer_when_two_runs_compute_it_at_once(
    store: FolderStore, earlier: bytes | None
) -> None:
    """The other run writes its record, of other weights, while this one computes; a damaged record is written over."""
    if earlier is not None:
        store.put("c/r.json", earlier)
    others = make_report(store, "c/w.bin", b"weights of the other run")

    def compute() -> RetrainReport:
        put_record(store, "c/r.json", others)
        return make_report(store, "c/w.bin")

    report = once(store, "c/r.json", RetrainReport, compute)
    assert (report == others) == (earlier is None)
    assert get_record(store, "c/r.json", RetrainReport) == report
    assert hashlib.sha256(store.get(report.checkpoint.key)).hexdigest() == report.checkpoint.sha256


def test_once_leaves_no_record_when_the_computation_fails(store: FolderStore) -> None:
    def fail() -> ReleaseRecord:
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        once(store, "r.json", ReleaseRecord, fail)
    assert not store.exists("r.json")


def test_put_record_reads_back_equal(store: FolderStore) -> None:
    record = ReleaseRecord(release_id="0123456789ab", promotions=())
    put_record(store, "r.json", record)
    assert get_record(store, "r.json", ReleaseRecord) == record
