from __future__ import annotations

import logging
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.device.__main__ import main
from infra.device.cli.run import wait_s
from infra.device.documents.manifest import Manifest
from infra.device.errors import ContractError
from infra.device.stores.folder_store import FolderStore
from infra.publishing.releases import promote, publish_release
from tests.signing import publisher_of, root_file
from tests.unit.infra.exported import exported

pytestmark = pytest.mark.usefixtures("children_in_process")


def _arguments(work_folder: Path, store_url: str, *more: str) -> list[str]:
    fixed = ["--target", "cpu-fp32", "--device", "pi", "--store", store_url, "--work-folder", str(work_folder)]
    fixed += ["--root", str(root_file())]
    return [*fixed, *more]


def test_main_exits_0_when_there_is_nothing_to_do(
    tmp_path: Path, store: FolderStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_arguments(tmp_path, store.url, "--once")) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "wrong",
    [
        *(["--repeats", "0"], ["--interval-s", "nan"], ["--threads", "x"], ["--device", "a/b"]),
        ["--store", "s3://bucket"],  # without --ingest
    ],
)
def test_main_exits_2_when_an_option_is_wrong(tmp_path: Path, wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(_arguments(tmp_path, "file:///nowhere", *wrong))
    assert caught.value.code == 2


@pytest.mark.parametrize(
    "wrong", [["--store", "ftp://somewhere"], ["--target", "toaster-fp32"], ["--work-folder", "/dev/null/folder"]]
)
def test_main_exits_3_when_the_configuration_is_wrong(
    tmp_path: Path, store: FolderStore, caplog: pytest.LogCaptureFixture, wrong: list[str]
) -> None:
    assert main(_arguments(tmp_path, store.url, "--once", *wrong)) == 3
    assert wrong[1] in caplog.text


STOPS = {
    "no such device": (["--target", "toaster-fp32"], "toaster-fp32"),
    "no plugin": (
        ["--target", "ncs2-fp16"],
        "openvino on PyPI for a Neural Compute Stick 2 (device MYRIAD) is 2021.4.2",
    ),
    "no such store": (["--store", "ftp://somewhere"], "ftp://somewhere"),
    "reports in the clear": (["--ingest", "http://example.com"], "wanted https://host"),
    "no ingest": (["--ingest", "ingest.example.com"], "wanted https://host"),
    "half an address": (["--ingest", "https://["], "'https://[': wanted https://host"),
    "a port that is none": (["--ingest", "https://h:abc"], "'https://h:abc': wanted https://host"),
    "port 0": (["--ingest", "https://h:0"], "'https://h:0': wanted https://host"),
    "a port too high": (["--ingest", "https://h:65536"], "'https://h:65536': wanted https://host"),
    "a user": (["--ingest", "https://u:p@h"], "'https://u:p@h': wanted https://host"),
    "a query": (["--ingest", "https://h/?a"], "'https://h/?a': wanted https://host"),
    "a fragment": (["--ingest", "https://h/#f"], "'https://h/#f': wanted https://host"),
    "a blank": (["--ingest", "https://h /"], "'https://h /': wanted https://host"),
}


@pytest.mark.parametrize(("wrong", "words"), STOPS.values(), ids=STOPS)
def test_main_ends_a_loop_when_only_the_owner_of_the_machine_can_mend_it(
    tmp_path: Path, store: FolderStore, caplog: pytest.LogCaptureFixture, wrong: list[str], words: str
) -> None:
    assert main(_arguments(tmp_path, store.url, *wrong)) == 3
    assert words in caplog.text


def test_main_ends_when_another_agent_uses_the_work_folder(
    tmp_path: Path, store: FolderStore, caplog: pytest.LogCaptureFixture
) -> None:
    first = [sys.executable, "-m", "infra.device", *_arguments(tmp_path, store.url, "--interval-s", "600")]
    with subprocess.Popen(first, cwd=Path(__file__).parents[4], stderr=subprocess.PIPE, text=True) as agent:
        assert agent.stderr is not None
        for line in agent.stderr:
            if "no release was promoted" in line:
                break
        assert main(_arguments(tmp_path, store.url)) == 3
        assert f"another agent uses it (process {agent.pid})" in caplog.text
        agent.kill()
    assert main(_arguments(tmp_path, store.url, "--once")) == 0


def test_main_logs_what_a_store_says_on_one_line(
    tmp_path: Path, store: FolderStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    forged = "gone\x1b]0;title\x07\r\n2026-11-29 10:00:00,000 INFO infra.device.agent.agent: cpu-fp32: measured"

    def refuse(*arguments: object, **more: object) -> None:
        raise ContractError(f"pointer: {forged}")

    monkeypatch.setattr("infra.device.agent.agent.current_for", refuse)
    monkeypatch.setattr("infra.device.trust.Trust.refresh", lambda trust: None)
    monkeypatch.setattr(logging.root, "handlers", [])
    assert main(_arguments(tmp_path, store.url, "--once")) == 5
    _, line = capsys.readouterr().err.splitlines()  # the first names the runtime
    assert "cpu-fp32: rejected (pointer: gone\\x1b]0;title\\x07\\r\\n2026" in line


def test_main_exits_4_when_the_store_is_unreachable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert main(_arguments(tmp_path, "s3://bucket", "--once", "--ingest", "https://127.0.0.1:9")) == 4
    assert "http://127.0.0.1:9" in caplog.text


def test_main_exits_5_when_the_model_is_rejected(
    tmp_path: Path, store: FolderStore, manifest: Manifest, release_files: dict[str, Path]
) -> None:
    promote(
        publisher_of(store), "cpu-fp32", publish_release(publisher_of(store), manifest, exported(store, release_files))
    )
    assert main(_arguments(tmp_path / "work", store.url, "--once")) == 5
    assert len(store.list("reports/")) == 1


def test_main_goes_on_when_the_disk_is_full(
    tmp_path: Path,
    store: FolderStore,
    release_files: dict[str, Path],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    release_files["model/cpu-fp32.bin"].write_bytes(bytes(100_000))
    promote(
        publisher_of(store),
        "cpu-fp32",
        publish_release(publisher_of(store), request.getfixturevalue("manifest"), exported(store, release_files)),
    )
    waits = []

    def room_after_the_first_wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            sys.exit(0)
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    monkeypatch.setattr("infra.device.cli.run.pause", room_after_the_first_wait)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    try:
        assert main(_arguments(tmp_path / "work", store.url, "--once")) == 3
        with pytest.raises(SystemExit):
            main(_arguments(tmp_path / "work", store.url))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caplog.text.count("no room to write") == 2
    assert waits[0] > 0
    assert len(store.list("reports/")) == 1


def test_main_ends_cleanly_when_it_is_terminated(tmp_path: Path) -> None:
    arguments = _arguments(tmp_path, (tmp_path / "store").as_uri(), "--interval-s", "600")
    command = [sys.executable, "-m", "infra.device", *arguments]
    with subprocess.Popen(command, cwd=Path(__file__).parents[4], stderr=subprocess.PIPE, text=True) as agent:
        assert agent.stderr is not None
        for line in agent.stderr:
            if "no release was promoted" in line:
                break
        time.sleep(0.1)
        agent.send_signal(signal.SIGTERM)
        rest = agent.stderr.read()
        assert agent.wait(timeout=20) == 0
    assert "SIGTERM" in rest
    assert "Traceback" not in rest


def test_wait_s_is_the_interval_when_all_went_well() -> None:
    assert wait_s(300.0, 0, 0.9) == 300.0


def test_wait_s_doubles_with_each_failure_up_to_an_hour() -> None:
    assert [wait_s(300.0, failures, 0.0) for failures in range(1, 6)] == [600.0, 1200.0, 2400.0, 3600.0, 3600.0]
    assert wait_s(300.0, 1000, 0.0) == 3600.0
    assert wait_s(7200.0, 3, 0.0) == 7200.0


def test_wait_s_takes_off_up_to_half_as_jitter() -> None:
    assert wait_s(300.0, 1, 0.5) == 450.0
