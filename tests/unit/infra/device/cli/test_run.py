"""The loop and systemd: what is said, how often, and the unit that asks for it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.device.__main__ import main
from infra.device.agent.agent import Outcome
from infra.device.cli import run as run_module
from infra.device.cli import unit as unit_module
from infra.device.cli.last_round import read_last_round, write_last_round
from infra.device.cli.run import pause
from infra.device.cli.unit import unit_text
from infra.device.errors import SettingsError
from infra.device.notify import ALIVE, READY, notify
from infra.device.stores.folder_store import FolderStore
from tests.signing import root_file


@pytest.fixture(params=["a path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket that systemd gives to a service."""
    address = f"\0modnet-{tmp_path}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address)
        listening.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", address.replace("\0", "@"))
        yield listening


def test_notify_speaks_to_systemd(systemd: socket.socket) -> None:
    notify(READY, "STATUS=well")
    assert systemd.recv(1000) == b"READY=1\nSTATUS=well"


def test_notify_says_nothing_where_nobody_asks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify(READY)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify(READY)


def test_a_pause_says_that_the_agent_is_alive(systemd: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "_ALIVE_EVERY_S", 0.01)
    pause(0.03)
    assert [systemd.recv(1000) for _ in range(2)] == [ALIVE.encode()] * 2


def test_a_pause_lasts_as_long_as_it_shall(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    clock = [0.0]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    pause(100.0)
    assert slept == [30.0, 30.0, 30.0, 10.0]


def test_the_agent_tells_systemd_when_it_is_ready_and_how_a_round_went(
    systemd: socket.socket, tmp_path: Path, store: FolderStore
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(
        f'device = "pi"\nstore = "{store.url}"\nroot = "{root_file()}"\nwork_folder = "w"\ntargets = ["cpu-fp32"]\n'
    )
    assert main(["once", "--config", str(config)]) == 0
    said = []
    while not said or b"STATUS" not in said[-1]:
        said.append(systemd.recv(1000))
    alone = [one for one in said if one != b"WATCHDOG=1"]  # while a child says which runtime it has
    assert alone == [b"READY=1", b"WATCHDOG=1\nSTATUS=cpu-fp32 skipped"]


def test_status_says_what_was_seen_what_waits_and_how_the_last_round_ended(
    tmp_path: Path, store: FolderStore, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(
        f'device = "pi"\nstore = "{store.url}"\nroot = "{root_file()}"\nwork_folder = "w"\ntargets = ["cpu-fp32"]\n'
    )
    assert main(["status", "--config", str(config)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "agent: does not run",
        "last round: none yet",
        "reports that wait: 0",
        "seen: nothing",
    ]
    work = tmp_path / "w"
    (work / "spool").mkdir(parents=True)
    for name in ("a.json", "b.json", "c.damaged"):
        (work / "spool" / name).write_text("{}")
    (work / "seen.json").write_text(
        '{"r1/cpu-fp32": "measured", "r2/cpu-fp32": "rejected", "r3/cpu-fp32": "measured", "r4": "started now"}'
    )
    write_last_round(work, [Outcome("cpu-fp32", "waiting", "no\x1b[2J stick", "old")], OSError("gone"))
    assert main(["status", "--config", str(config)]) == 0
    said = capsys.readouterr().out
    for words in (
        "  cpu-fp32 on old: waiting (no\\x1b[2J stick)",
        "  gone",
        "reports that wait: 2",
        "reports that nobody takes: 1",
        "seen: 2 measured, 1 rejected, 1 started",
        "  r2/cpu-fp32: rejected",
    ):
        assert words in said


@pytest.mark.parametrize("spoilt", ["", "[]", "{", '{"ended_at": 3, "outcomes": [], "error": null}', '{"a": 1}'])
def test_a_damaged_last_round_is_none(tmp_path: Path, spoilt: str) -> None:
    write_last_round(tmp_path, [Outcome("cpu-fp32", "measured", "half of a pair \ud800", "old")], None)
    assert read_last_round(tmp_path)["outcomes"] == [["cpu-fp32 on old", "measured", "half of a pair \\ud800"]]
    (tmp_path / "last_round.json").write_text(spoilt)
    assert read_last_round(tmp_path) == {}


def test_verify_says_what_is_right_and_what_is_damaged(
    tmp_path: Path, store: FolderStore, published: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from infra.publishing.releases import promote
    from tests.signing import publisher_of

    config = tmp_path / "agent.toml"
    config.write_text(
        f'device = "pi"\nstore = "{store.url}"\nroot = "{root_file()}"\nwork_folder = "w"\n'
        'targets = ["cpu-fp32", "cpu-int8"]\n'
    )
    promote(publisher_of(store), "cpu-fp32", published)
    assert main(["verify", "--config", str(config)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"cpu-fp32: release {published}, 2 files of ")
    assert said[1] == "cpu-int8: no release was promoted for it"
    (weights,) = store.folder.glob(f"releases/{published}/**/cpu-fp32.bin")
    weights.write_bytes(b"x" * weights.stat().st_size)
    assert main(["verify", "--config", str(config)]) == 5
    assert "cpu-fp32: DigestMismatchError: " in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "w").iterdir()) == ["trust"]


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    agent = tmp_path / "100%" / "modnet-agent.pyz"
    agent.parent.mkdir()
    agent.write_text("")
    monkeypatch.setattr(sys, "argv", [str(agent)])
    monkeypatch.setattr(unit_module, "_HIDDEN", ())  # tests are below /tmp
    return unit_text(Path("/var/lib/modnet-agent/agent.toml"))


def test_the_unit_starts_this_file_with_this_python(unit: str, tmp_path: Path) -> None:
    agent = str(tmp_path / "100%%" / "modnet-agent.pyz")
    assert f"ExecStart={sys.executable} {agent} run --config /var/lib/modnet-agent/agent.toml\n" in unit
    assert "@PYTHON@" not in unit


def test_a_unit_is_made_for_the_one_file_and_paths_that_systemd_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["__main__.py"])
    with pytest.raises(SettingsError, match="wanted the agent as one file"):
        unit_text(Path("/agent.toml"))
    monkeypatch.setattr(sys, "argv", ["/opt/my agent.pyz"])
    with pytest.raises(SettingsError, match="wanted a path without blanks"):
        unit_text(Path("/agent.toml"))
    monkeypatch.setattr(sys, "argv", ["/opt/agent.pyz"])
    with pytest.raises(SettingsError, match=r"/home/me/agent.toml: wanted it elsewhere: the unit hides /home, /root"):
        unit_text(Path("/home/me/agent.toml"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_finds_nothing_wrong_with_the_unit_and_little_exposed(unit: str, tmp_path: Path) -> None:
    path = tmp_path / "modnet-agent.service"
    path.write_text(unit)
    verified = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False)
    assert [line for line in verified.stderr.splitlines() if path.name in line] == []
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unrecognized option" in judged.stderr:
        pytest.skip("this systemd-analyze judges no unit that is not loaded")
    assert judged.returncode == 0, judged.stdout
