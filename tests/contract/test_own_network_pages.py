"""The pages on networks of one's own run from top to bottom, commands included."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.cli import main

PROJECT = Path(__file__).resolve().parents[2]


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of every block of a page."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", (PROJECT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL)


def test_the_page_on_a_network_of_ones_own_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    found = blocks("own-network.md")
    assert [language for language, _ in found] == ["python", "bash", "python", "python"]
    (tmp_path / "mynet.py").write_text(found[0][1])
    for line in found[1][1].splitlines():
        program, *arguments = shlex.split(line)
        if program == "modnet":
            assert main(arguments) == 0
        else:
            subprocess.run([sys.executable, *arguments], check=True)
    names: dict[str, object] = {}
    for number, (_, text) in enumerate(found[2:], start=3):
        exec(compile(text, f"docs/own-network.md, block {number}", "exec"), names)
    said = capsys.readouterr().out
    assert "| stays whole | because it |" in said
    assert re.search(r"\d+ MACs before, \d+ after", said)
    assert type(names["network"]).__name__ == "Sequential"
    sys.modules.pop("mynet")


def test_the_page_on_groups_runs() -> None:
    found = blocks("groups.md")
    assert len(found) >= 4
    names: dict[str, object] = {}
    for number, (_, text) in enumerate(found, start=1):
        exec(compile(text, f"docs/groups.md, block {number}", "exec"), names)
