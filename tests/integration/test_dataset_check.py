"""The check of real photographs with mattes: no false alarm, and what was turned round or copied is found."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from modnet.data.images import write_png
from tasks.cli import main

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
MINI, ALL = SHARED / "portraits-mini.zip", SHARED / "portraits.zip"

Check = Callable[[Path], dict[str, Any]]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Check:
    """What `modnet dataset check --json` prints, and its exit code as `code`."""
    monkeypatch.setenv("MODNET_CACHE", str(tmp_path / "cache"))

    def check(source: Path) -> dict[str, Any]:
        code = main(["dataset", "check", str(source), "--page", str(tmp_path / "page.html"), "--overwrite", "--json"])
        return {"code": code, **json.loads(capsys.readouterr().out)}

    return check


@pytest.mark.skipif(not MINI.exists(), reason="needs ../shared/data/portraits-mini.zip")
def test_photographs_raise_no_alarm_until_mattes_are_inverted_and_a_photograph_is_copied(
    check: Check, tmp_path: Path
) -> None:
    found = check(MINI)
    assert (found["code"], found["data"]) == (0, "32 images, 0 errors, 0 warnings")

    with zipfile.ZipFile(MINI) as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / "portraits-mini"
    for path in (folder / "train" / "alpha").iterdir():
        write_png(path, 255 - cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    stem = next((folder / "val" / "fg").iterdir()).stem
    photograph = next((folder / "train" / "fg").iterdir())
    shutil.copy(photograph, folder / "val" / "fg" / f"{stem}.jpg")
    shutil.copy(folder / "train" / "alpha" / f"{photograph.stem}.png", folder / "val" / "alpha" / f"{stem}.png")

    found = check(folder)
    kinds = {(one["kind"], one["split"]): (one["images"], one["of"], one["is_error"]) for one in found["findings"]}
    assert found["code"] == 1
    assert kinds["mattes that look inverted", "fit"] == (20, 20, True)
    assert kinds["mattes that look inverted", "tune"] == (4, 4, True)
    assert kinds["mattes that look inverted", "val"] == (1, 8, False)
    (copied,) = [amount for (kind, split), amount in kinds.items() if kind.startswith("copies") and split == "val"]
    assert copied == (1, 8, True)
    assert (tmp_path / "page.html").stat().st_size < 500_000


@pytest.mark.slow
@pytest.mark.skipif(not ALL.exists(), reason="needs ../shared/data/portraits.zip")
def test_903_photographs_have_one_copy_and_no_false_alarm(check: Check) -> None:
    found = check(ALL)
    assert (found["code"], found["data"]) == (0, "903 images, 0 errors, 1 warning")
    (copied,) = found["findings"]  # two photographs of one moment; looked at
    assert (copied["kind"], copied["split"], copied["images"]) == ("copies of images of fit", "tune", 1)
    assert copied["examples"][0].startswith("0730 is 0183 ")
