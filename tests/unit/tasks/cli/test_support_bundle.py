from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tasks.cli import main


def test_a_bundle_is_for_its_owner_and_replaces_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["support-bundle", "--stack", str(tmp_path / "none"), "--out", str(tmp_path / "new" / "b.zip"), "--json"]
    assert main(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["missing"] == "runs.json, runs-log.txt"
    path = Path(result["bundle"])
    assert path.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(path) as archive:
        assert "checks.txt" in archive.namelist()
    assert main(command) == 3
    assert "is there already" in capsys.readouterr().err
