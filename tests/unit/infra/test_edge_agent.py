"""Service files of version 0.1.0 start the agent by another name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("arguments", [["--help"], ["--once"]], ids=["help", "usage"])
def test_the_agent_answers_to_its_earlier_name_as_to_its_own(arguments: list[str]) -> None:
    ended = [
        subprocess.run(
            [sys.executable, "-m", name, *arguments],
            cwd=Path(__file__).parents[3],
            env={**os.environ, "COLUMNS": "120"},
            capture_output=True,
            text=True,
            check=False,
        )
        for name in ("infra.device", "infra.edge_agent")
    ]
    answers = [(one.returncode, one.stdout, one.stderr) for one in ended]
    assert answers[0] == answers[1]
    assert "infra.device" in ended[0].stdout + ended[0].stderr
