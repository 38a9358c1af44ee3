from __future__ import annotations

import json
import logging
import os
import platform
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from infra.device import logs
from infra.device.logs import JsonLines, current_fields, log_fields, log_formatter, log_json_to_stderr
from infra.device.shown import ShownFormatter


@pytest.fixture(autouse=True)
def no_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "process_fields", {})
    monkeypatch.delenv("PREFECT__FLOW_RUN_ID", raising=False)
    monkeypatch.delenv("MODNET_LOG", raising=False)


def written(message: str = "got %s", *args: object, error: Any = None, **extra: str) -> dict[str, Any]:
    """The members of a line; `extra` as a logger puts it on the record."""
    record = logging.LogRecord("infra.x", logging.WARNING, "", 0, message, args, error)
    vars(record).update(extra)
    line = JsonLines().format(record)
    assert line.isprintable()
    assert line.isascii()
    return dict(json.loads(line))


def test_a_line_says_when_where_and_what(monkeypatch: pytest.MonkeyPatch) -> None:
    line = written("got %s", "a\nb \x1b\u202e é \udcff")
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "WARNING",
        "logger": "infra.x",
        "message": "got a\nb \x1b\u202e é \udcff",
        "node": platform.node(),
        "pid": os.getpid(),
    }


def test_a_traceback_is_part_of_its_line() -> None:
    try:
        raise ValueError("bad\n\x1b")
    except ValueError:
        assert written(error=sys.exc_info())["error"].endswith("ValueError: bad\n\x1b")


def test_a_line_of_a_computation_says_which() -> None:
    with log_fields(run_id="r", stage="retrain"), log_fields(computation="retrain a"):
        fields = {"run_id": "r", "stage": "retrain", "computation": "retrain a"}
        assert current_fields() == fields
        assert written().items() >= fields.items()
        other: list[dict[str, Any]] = []
        thread = threading.Thread(target=lambda: other.append(written()))
        thread.start()
        thread.join()
        assert "run_id" not in other[0]  # another candidate's thread
    assert not {"run_id", "stage", "computation"} & written().keys()


def test_names_of_prefects_loggers_are_ours_and_the_run_is_the_one_that_was_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prefects = {"flow_run_id": "subflow", "flow_name": "retrain", "task_run_name": "retrain a", "task_run_id": "x"}
    line = written(**prefects)
    assert (line["run_id"], line["stage"], line["computation"]) == ("subflow", "retrain", "retrain a")
    assert "task_run_id" not in line
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "night")
    assert written(**prefects)["run_id"] == "night"


def test_a_device_stands_in_every_line() -> None:
    logs.process_fields["device"] = "kitchen-1"
    assert written()["device"] == "kitchen-1"


def test_text_stays_unless_json_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    before = list(root.handlers)
    log_json_to_stderr()
    assert root.handlers == before
    assert isinstance(log_formatter("%(message)s"), ShownFormatter)
    monkeypatch.setenv("MODNET_LOG", "json")
    assert isinstance(log_formatter("%(message)s"), JsonLines)


def test_lines_of_an_agent_name_its_device(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "infra.device", "--once", "--device", "kitchen-1", "--target", "cpu-fp32"]
    command += ["--store", tmp_path.as_uri(), "--root", "missing.json", "--work-folder", str(tmp_path / "work")]
    environ = {**os.environ, "MODNET_LOG": "json"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    line = json.loads(done.stderr.splitlines()[-1])
    assert (done.returncode, line["device"], line["level"]) == (3, "kitchen-1", "ERROR")
