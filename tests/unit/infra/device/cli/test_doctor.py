"""What `doctor` finds and says to do, on machines that lack one thing each."""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from infra.device.__main__ import main
from infra.device.agent.lock import holder, only_agent
from infra.device.agent.settings import RuntimeSettings
from infra.device.cli import doctor
from infra.device.cli.config import AgentConfig
from infra.device.cli.doctor import findings
from infra.device.cli.findings import NOTE, OK, WRONG, Finding
from infra.device.cli.network import clock_finding, network_finding
from infra.device.cli.stick import RULE, stick_findings
from infra.device.errors import SettingsError
from infra.device.stores.folder_store import FolderStore
from tests.signing import publisher_of, root_file


@pytest.fixture
def make_config(tmp_path: Path, store: FolderStore) -> Callable[..., AgentConfig]:
    def make(**changes: object) -> AgentConfig:
        usual: dict[str, object] = {
            "device": "pi",
            "store": store.url,
            "root": root_file(),
            "work_folder": tmp_path / "work",
            "runtimes": (RuntimeSettings("this", targets=("cpu-fp32",)),),
        }
        return AgentConfig(**{**usual, **changes})  # type: ignore[arg-type]

    return make


def _found(config: AgentConfig) -> dict[str, Finding]:
    return {finding.about: finding for finding in findings(lambda: config)}


@pytest.fixture(scope="module", autouse=True)
def _no_proxy() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment:
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            environment.delenv(name, raising=False)
        yield


def test_all_is_ok_where_all_is_there(make_config: Callable[..., AgentConfig], store: FolderStore) -> None:
    publisher_of(store).change(lambda targets: True)
    found = _found(make_config())
    assert [finding for finding in found.values() if finding.state == WRONG] == []
    assert {
        "python",
        "cryptography",
        "settings",
        "work folder",
        "agent",
        "root.json",
        "runtime this",
        "cpu-fp32",
    } <= found.keys()
    assert re.search(r"^openvino \d.*, /.*python", found["runtime this"].words)
    assert "signed by whom root.json names" in found["releases"].words
    assert "boto3" not in found  # a folder does without


def test_a_store_behind_a_network_needs_boto3(make_config: Callable[..., AgentConfig]) -> None:
    assert _found(make_config(store="s3://models", ingest="http://127.0.0.1:9"))["boto3"].state == OK


def test_a_device_that_is_away_is_named(make_config: Callable[..., AgentConfig]) -> None:
    found = _found(make_config(runtimes=(RuntimeSettings("this", targets=("gpu-fp16", "cpu-fp32")),)))
    assert (found["gpu-fp16"].state, "device GPU: openvino" in found["gpu-fp16"].words) == (WRONG, True)
    assert found["cpu-fp32"] == Finding("cpu-fp32", OK, "can be measured by runtime this")


def test_a_store_that_nobody_has_signed_is_a_note(make_config: Callable[..., AgentConfig]) -> None:
    found = _found(make_config())["releases"]
    assert (found.state, "nothing was ever signed here" in found.words) == (NOTE, True)


def test_each_runtime_is_asked_in_its_own_python(make_config: Callable[..., AgentConfig], tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'Segmentation fault' >&2\nexit 139\n")
    broken.chmod(0o755)
    runtimes = (
        RuntimeSettings("gone", Path("/nowhere/python"), ("cpu-fp32",)),
        RuntimeSettings("broken", broken, ("cpu-fp32",)),
        RuntimeSettings("bare", targets=("cpu-fp32",), environ={"PYTHONPATH": _without_openvino(tmp_path)}),
        RuntimeSettings("whole", targets=("cpu-fp32", "toaster-fp32")),
    )
    config = make_config(runtimes=runtimes[:3])
    found = _found(config)
    assert "No such file or directory: '/nowhere/python'" in found["runtime gone"].words
    assert "ended by exit code 139; its last words: Segmentation fault" in found["runtime broken"].words
    assert "openvino cannot be imported here: it is broken" in found["runtime bare"].words
    found = _found(make_config(runtimes=runtimes[3:]))
    assert found["cpu-fp32"].state == OK
    assert (found["toaster-fp32"].state, "got first word 'toaster'" in found["toaster-fp32"].words) == (WRONG, True)


def _without_openvino(folder: Path) -> str:
    package = folder / "libraries" / "openvino"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('it is broken')")
    return str(package.parent)


def test_a_target_that_this_host_has_no_device_for_is_named(make_config: Callable[..., AgentConfig]) -> None:
    found = _found(make_config(runtimes=(RuntimeSettings("this", targets=("ncs2-fp16", "cpu-fp32")),)))
    assert found["ncs2-fp16"].state == WRONG
    assert (
        "the last openvino on PyPI for a Neural Compute Stick 2 (device MYRIAD) is 2021.4.2" in found["ncs2-fp16"].words
    )
    assert found["cpu-fp32"].state == OK
    assert "libusb" in found


def test_a_root_that_is_none_gone_or_over(make_config: Callable[..., AgentConfig], tmp_path: Path) -> None:
    assert "No such file" in _found(make_config(root=tmp_path / "gone"))["root.json"].words
    (tmp_path / "none").write_text("{}")
    assert "wanted TUF's root metadata" in _found(make_config(root=tmp_path / "none"))["root.json"].words


def test_a_root_whose_time_is_over_is_a_note(
    make_config: Callable[..., AgentConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime(2100, 1, 1, tzinfo=UTC)

    monkeypatch.setattr(doctor, "datetime", Later)
    found = _found(make_config())["root.json"]
    assert (found.state, "a newer one must be in the store" in found.words) == (NOTE, True)


def test_a_work_folder_that_cannot_be_written_to(make_config: Callable[..., AgentConfig], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = _found(make_config(work_folder=tmp_path / "file"))["work folder"]
    assert (found.state, "give it to the agent's user" in found.words) == (WRONG, True)


def test_a_disk_that_is_full(make_config: Callable[..., AgentConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_ROOM_BYTES", 1 << 60)
    found = _found(make_config())["work folder"]
    assert (found.state, "make room" in found.words) == (WRONG, True)


def test_an_agent_that_runs_is_named_and_not_disturbed(make_config: Callable[..., AgentConfig]) -> None:
    config = make_config()
    assert holder(config.work_folder) is None
    with only_agent(config.work_folder):
        assert _found(config)["agent"].words == f"runs, process {os.getpid()}"
    assert holder(config.work_folder) is None


def test_settings_that_are_wrong_end_the_look(tmp_path: Path) -> None:
    def refuse() -> AgentConfig:
        raise SettingsError("agent.toml: colour: unknown")

    last = list(findings(refuse))[-1]
    assert (last.about, last.state, "colour: unknown" in last.words) == ("settings", WRONG, True)


def test_whatever_is_raised_is_a_line(make_config: Callable[..., AgentConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    def explode() -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(doctor, "machine_conditions", explode)
    assert _found(make_config())["speed"] == Finding("speed", WRONG, "RuntimeError: boom")


def test_a_quota_and_a_governor_are_notes(
    make_config: Callable[..., AgentConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    conditions = {"cpu_quota_count": 0.5, "cpu_governor_text": "powersave"}
    monkeypatch.setattr(doctor, "machine_conditions", lambda: conditions)
    found = _found(make_config())
    assert found["cpu quota"] == Finding(
        "cpu quota", NOTE, "0.5 CPUs by a control group: set threads to no more than that"
    )
    assert (found["cpu governor"].state, "powersave" in found["cpu governor"].words) == (NOTE, True)


def test_the_verb_exits_0_or_3_and_escapes_what_it_says(
    tmp_path: Path, store: FolderStore, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "agent.toml"
    text = f'device = "pi"\nstore = "{store.url}"\nroot = "{root_file()}"\nwork_folder = "w"\ntargets = ["cpu-fp32"]\n'
    config.write_text(text)
    assert main(["doctor", "--config", str(config)]) == 0
    assert "\nok     settings       device pi, targets cpu-fp32\n" in capsys.readouterr().out
    config.write_text(text + '"\\u001b[2J" = 1')
    assert main(["doctor", "--config", str(config)]) == 3
    said = capsys.readouterr().out
    assert "NOT OK settings" in said
    assert "\x1b" not in said


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine with a stick that everybody may open."""
    stick = tmp_path / "sys/bus/usb/devices/2-1"
    stick.mkdir(parents=True)
    for name, text in {"idVendor": "03e7\n", "busnum": "2\n", "devnum": "7\n", "version": " 3.10\n"}.items():
        (stick / name).write_text(text)
    node = tmp_path / "dev/bus/usb/002/007"
    node.parent.mkdir(parents=True)
    node.write_text("")
    rules = tmp_path / "etc/udev/rules.d"
    rules.mkdir(parents=True)
    (rules / "97-ncs2.rules").write_text(RULE)
    return tmp_path


def test_a_stick_that_may_be_opened(machine: Path) -> None:
    found = [finding for finding in stick_findings(machine) if finding.about != "libusb"]
    assert found == [Finding("stick", OK, f"{machine}/dev/bus/usb/002/007, USB 3.10")]


def test_a_stick_that_is_not_there_and_no_rule(machine: Path) -> None:
    (machine / "sys/bus/usb/devices/2-1/idVendor").write_text("1d6b")
    (machine / "etc/udev/rules.d/97-ncs2.rules").unlink()
    rule, stick = [finding for finding in stick_findings(machine) if finding.about != "libusb"]
    assert (rule.state, "/etc/udev/rules.d/97-ncs2.rules" in rule.words) == (NOTE, True)
    assert (stick.state, "plug it in" in stick.words) == (WRONG, True)


def test_a_stick_that_this_user_may_not_open(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    (stick,) = [finding for finding in stick_findings(machine) if finding.about == "stick"]
    assert (stick.state, "may not open it; the udev rule is" in stick.words) == (WRONG, True)


def test_a_host_without_libusb(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr("ctypes.CDLL", refuse)
    first = next(stick_findings(machine))
    assert (first.state, "apt-get install libusb-1.0-0" in first.words) == (WRONG, True)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(405)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return "Mon, 30 Nov 2026 12:00:00 GMT"

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize(
    ("off", "state", "words"),
    [
        (timedelta(seconds=3), OK, "12:00:03 UTC here, 2026-11-30 12:00:00 at"),
        (timedelta(minutes=-2), NOTE, "it drifts"),
        (timedelta(minutes=-20), WRONG, "every request is refused; set it"),
        (timedelta(days=-18_000), WRONG, "every request is refused; set it"),
    ],
)
def test_the_clock_is_compared_with_that_of_an_answer(
    server: HTTPServer, off: timedelta, state: str, words: str
) -> None:
    noon = datetime(2026, 11, 30, 12, tzinfo=UTC)
    found = clock_finding(f"http://127.0.0.1:{server.server_port}", noon + off)
    assert (found.state, words in found.words) == (state, True), found


def test_a_network_says_how_far_it_comes(server: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    port = server.server_port
    assert network_finding("x", f"http://127.0.0.1:{port}") == Finding("x", OK, f"127.0.0.1 (127.0.0.1) port {port}")
    assert "no connection" in network_finding("x", "http://127.0.0.1:9").words
    assert "has no address" in network_finding("x", "https://nowhere.invalid").words
    assert "TLS fails" in network_finding("x", f"https://127.0.0.1:{port}").words
    assert clock_finding("http://127.0.0.1:9").state == NOTE
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    assert "goes through the proxy http://proxy:3128" in network_finding("x", "https://nowhere.invalid").words


def test_a_certificate_of_another_authority_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    try:
        subprocess.run(command, capture_output=True, check=True)
    except FileNotFoundError:
        pytest.skip("no openssl")
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"https://127.0.0.1:{server.server_port}"
        found = network_finding("to the ingest", url)
        assert (found.state, "set ca_bundle" in found.words) == (WRONG, True)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        assert network_finding("to the ingest", url).state == OK
        server.shutdown()
