from __future__ import annotations

from pathlib import Path

import pytest

from infra.errors import StackError
from infra.local_stack.deployment import digest_of_project, run_prefect


def test_digest_of_project_changes_with_code_and_deployments_only(tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "compress.py").write_text("")
    (tmp_path / ".hidden").mkdir()
    before = digest_of_project(tmp_path)
    (tmp_path / ".hidden" / "other.py").write_text("")
    (tmp_path / "notes.txt").write_text("")
    assert digest_of_project(tmp_path) == before
    (tmp_path / "prefect.yaml").write_text("deployments: []")
    with_deployments = digest_of_project(tmp_path)
    (tmp_path / "flows" / "compress.py").write_text("pass")
    assert len({before, with_deployments, digest_of_project(tmp_path)}) == 3


def test_digest_of_project_changes_with_its_folder_which_deployments_hold(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    (tmp_path / "before" / "prefect.yaml").write_text("deployments: []")
    before = digest_of_project(tmp_path / "before")
    (tmp_path / "alias").symlink_to("before")
    assert digest_of_project(tmp_path / "alias") == before
    assert digest_of_project((tmp_path / "before").rename(tmp_path / "after")) != before


def test_run_prefect_says_command_and_output_when_it_fails(tmp_path: Path) -> None:
    # A stand-in, which Python finds in the project's folder first: Prefect itself takes seconds to refuse.
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect" / "__init__.py").write_text("")
    (tmp_path / "prefect" / "__main__.py").write_text("print('no such work pool'); raise SystemExit(1)")
    with pytest.raises(StackError, match=r"prefect deploy --all in .*: exit code 1: no such work pool"):
        run_prefect(["deploy", "--all"], project=tmp_path, environ={})
