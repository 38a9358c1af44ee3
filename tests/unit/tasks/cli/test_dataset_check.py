"""`modnet dataset check`: a table, a page, and exit codes."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from infra.cache import _held, bound
from modnet.data.images import write_png
from tasks.cli import main
from tests.unit.tasks.cli.conftest import Refuse, Run

FORGED = "<img src=x> & \x1b[2J\u202e"


@pytest.fixture
def folder(archive: Path, tmp_path: Path) -> Path:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "set")
    return tmp_path / "set" / "synthetic"


def test_a_good_data_set_ends_with_0_and_has_a_page(archive: Path, tmp_path: Path, run: Run) -> None:
    found = run("dataset", "check", archive, "--page", tmp_path / "new" / "check.html")
    assert found["data"] == "9 images, 0 errors, 0 warnings"
    assert [(one["split"], one["images"]) for one in found["splits"]] == [("fit", 3), ("tune", 4), ("val", 2)]
    assert b"Nothing is wrong." in Path(found["page"]).read_bytes()


def test_a_verb_holds_the_data_that_it_reads_and_leaves_the_given_archive_as_it_is(
    archive: Path, tmp_path: Path, run: Run
) -> None:
    given = archive.stat().st_mtime_ns
    fetched = Path(run("dataset", "fetch", archive)["folder"])
    for source in (archive, fetched):
        while _held:  # as if the process had ended
            os.close(_held.popitem()[1])
        os.utime(fetched, (0, 0))
        assert bound(tmp_path / "cache", max_bytes=0, remove=False) == [fetched]
        run("dataset", "check", source)
        os.utime(fetched, (0, 0))
        assert bound(tmp_path / "cache", max_bytes=0) == []
    assert archive.stat().st_mtime_ns == given


def test_warnings_end_with_0_and_what_names_say_is_escaped(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    first, *_ = sorted((folder / "val" / "fg").iterdir())
    first.rename(first.with_stem(FORGED))
    (folder / "val" / "alpha" / f"{first.stem}.png").unlink()
    matte = np.zeros((96, 64), np.uint8)
    matte[10:, 10:50] = 255
    write_png(folder / "val" / "alpha" / f"{FORGED}.png", matte)
    page = tmp_path / "check.html"
    assert main(["dataset", "check", str(folder), "--page", str(page)]) == 0
    printed = capsys.readouterr().out
    assert "| warning | mattes of only 0 and 1 | val | 1 of 2 |" in printed
    shown = page.read_text()
    assert r"&lt;img src=x&gt; &amp; \x1b[2J\u202e: only 0 and 1" in shown
    assert shown.count("<figure>") == 1
    assert shown.count('src="data:image/jpeg;base64,') == 2
    assert not [one for one in ("\x1b", "\u202e") if one in printed + shown]
    assert "<img src=x>" not in shown


def test_errors_end_with_1_after_table_and_page(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    first, *_ = sorted((folder / "val" / "fg").iterdir())
    first.write_bytes(b"")
    page = tmp_path / "check.html"
    arguments = ["dataset", "check", str(folder), "--page", str(page)]
    assert main([*arguments, "--json"]) == 1
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["data"], found["findings"][0]["kind"]) == ("9 images, 1 error, 0 warnings", "broken files")
    says = f"broken files in val (1 of 2 images): got image {first.name} (0 bytes): empty"
    assert captured.err.startswith(f"modnet: error: {says}")
    assert "ERROR" in page.read_text()


def test_a_folder_without_val_is_an_error_with_a_page(folder: Path, tmp_path: Path) -> None:
    (folder / "val").rename(tmp_path / "lost")
    assert main(["dataset", "check", str(folder), "--page", str(tmp_path / "check.html")]) == 1
    assert "val is empty: 0 images in val/fg" in (tmp_path / "check.html").read_text()


def test_no_page_of_an_earlier_check_is_replaced_and_what_is_not_there_is_refused(
    archive: Path, tmp_path: Path, refuse: Refuse
) -> None:
    (tmp_path / "check.html").write_bytes(b"earlier")
    code, said = refuse("dataset", "check", archive, "--page", tmp_path / "check.html")
    assert (code, "is there already" in said) == (3, True)
    assert refuse("dataset", "check", tmp_path / "none.zip")[0] == 3
