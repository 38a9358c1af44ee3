"""Every finding on drawn portraits, and files that nobody can use."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from modnet.data.images import write_png
from modnet.evaluation import data_check
from modnet.evaluation.data_check import Thumbnail, check_data, check_folder
from modnet.records import DataFinding, DatasetCheck
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.portraits import Portraits
from tests.unit.modnet.brightness import Drawings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """20 portraits to fit, 4 to tune and 4 in val, without a fault: `train/fg/0000.png` and so on."""
    archive = write_synthetic_archive(tmp_path / "portraits.zip", train=24, val=4, size=(96, 64), seed=0)
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "set")
    for path in (tmp_path / "set").rglob("*.jpg"):  # one ending is easier to write
        assert cv2.imwrite(str(path.with_suffix(".png")), cv2.imread(str(path)))
        path.unlink()
    return tmp_path / "set" / "synthetic"


def stems(folder: Path, split: str) -> list[str]:
    return Portraits(folder).names(split)


def change_matte(folder: Path, split: str, stem: str, change: object) -> None:
    path = folder / ("val" if split == "val" else "train") / "alpha" / f"{stem}.png"
    write_png(path, change(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)))


def found(folder: Path) -> list[tuple[str, str, int, bool]]:
    return [(one.kind, one.split, one.images, one.is_error) for one in checked(folder).findings]


def checked(folder: Path) -> DatasetCheck:
    return check_folder(Portraits, folder)[0]


def the_only(folder: Path) -> DataFinding:
    (finding,) = checked(folder).findings
    return finding


def test_a_good_data_set_is_counted_and_nothing_is_found(folder: Path) -> None:
    check, thumbnails = check_folder(Portraits, folder)
    assert (check.findings, thumbnails) == ((), [])
    assert check.summary == "28 images, 0 errors, 0 warnings"
    assert [(one.split, one.images, one.readable, one.median) for one in check.splits] == [
        ("fit", 20, 20, "64 × 96"),
        ("tune", 4, 4, "64 × 96"),
        ("val", 4, 4, "64 × 96"),
    ]


def test_sizes_are_the_smallest_the_median_and_the_largest_by_pixels(folder: Path) -> None:
    for stem, size in zip(stems(folder, "val"), ((64, 64), (200, 100), (100, 150), (80, 96)), strict=True):
        for path in ((folder / "val" / "fg" / f"{stem}.png"), (folder / "val" / "alpha" / f"{stem}.png")):
            assert cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), size))
    val = checked(folder).splits[-1]
    assert (val.smallest, val.median, val.largest) == ("64 × 64", "100 × 150", "200 × 100")


@pytest.mark.parametrize(
    ("kind", "change", "is_error"),
    [
        ("empty mattes", np.zeros_like, True),
        ("full mattes", lambda matte: np.full_like(matte, 255), True),
        ("mattes that look inverted", lambda matte: 255 - matte, True),
        ("mattes of only 0 and 1", lambda matte: np.where(matte > 127, 255, 0).astype(np.uint8), False),
    ],
)
def test_a_fault_of_few_mattes_is_a_warning_and_of_half_of_a_split_an_error(
    folder: Path, kind: str, change: object, is_error: bool
) -> None:
    first, second, *_ = stems(folder, "val")
    change_matte(folder, "val", first, change)
    check, thumbnails = check_folder(Portraits, folder)
    (finding,) = check.findings
    assert (finding.kind, finding.split, finding.amount, finding.is_error) == (kind, "val", "1 of 4", False)
    assert finding.examples[0].startswith(f"{first}: ")
    assert [(one.kind, len(one.pictures)) for one in thumbnails] == [(f"{kind} in val", 2)]
    change_matte(folder, "val", second, change)
    assert found(folder) == [(kind, "val", 2, is_error)]


def test_copies_between_splits_are_found_and_spoil_val_from_a_tenth_on(folder: Path) -> None:
    fit, tune, val = (stems(folder, split) for split in ("fit", "tune", "val"))

    def copy(source: Path, target: Path) -> None:
        small = cv2.resize(cv2.imread(str(source)), (48, 72))
        assert cv2.imwrite(str(target), cv2.resize(small, (64, 96)))

    copy(folder / "train" / "fg" / f"{fit[3]}.png", folder / "train" / "fg" / f"{tune[1]}.png")
    assert found(folder) == [("copies of images of fit", "tune", 1, False)]
    copy(folder / "train" / "fg" / f"{fit[5]}.png", folder / "val" / "fg" / f"{val[2]}.png")
    check, thumbnails = check_folder(Portraits, folder)
    error, warning = check.findings
    assert (error.kind, error.split, error.amount, error.is_error) == ("copies of images of fit", "val", "1 of 4", True)
    assert error.got.startswith(f"{val[2]} is {fit[5]} (")
    assert error.wanted == "no image of val among those of fit"
    assert not warning.is_error
    assert [len(one.pictures) for one in thumbnails] == [2, 2]  # both images, no matte


def bomb() -> bytes:
    """The first bytes of a PNG of 50,000 × 50,000 pixels."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0" * 100))]
    packed = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize("part", ["fg", "alpha"])
@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "(0 bytes): empty"), (b"no picture", "(10 bytes)"), (bomb(), "50000 × 50000 pixels|cannot be decoded|cut")],
    ids=["empty", "no picture", "bomb"],
)
def test_a_broken_file_is_an_error_that_names_it_without_folders(
    folder: Path, part: str, content: bytes, says: str
) -> None:
    stem = stems(folder, "tune")[0]
    (folder / "train" / part / f"{stem}.png").write_bytes(content)
    check = checked(folder)
    (finding,) = check.errors
    assert (finding.kind, finding.split, finding.amount) == ("broken files", "tune", "1 of 4")
    assert finding.got.startswith(f"image {stem}.png")
    assert any(one in finding.got for one in says.split("|"))
    assert str(folder) not in check.model_dump_json()
    assert check.splits[1].readable == 3


def test_a_cut_image_a_matte_of_another_size_and_a_strip_are_broken(folder: Path) -> None:
    cut, other, strip, *_ = stems(folder, "fit")
    path = folder / "train" / "fg" / f"{cut}.png"
    path.write_bytes(path.read_bytes()[:-500])
    change_matte(folder, "fit", other, lambda matte: matte[:-1])
    for part, shape in (("fg", (2, 2000, 3)), ("alpha", (2, 2000))):
        write_png(folder / "train" / part / f"{strip}.png", np.zeros(shape, np.uint8))
    finding = the_only(folder)
    assert (finding.kind, finding.amount) == ("broken files", "3 of 20")
    assert "is 64 × 96, but its matte" in finding.got
    assert "too narrow" in finding.got


def test_broken_files_of_fit_are_allowed_as_many_as_a_training_bears(folder: Path) -> None:
    for stem in stems(folder, "fit")[:2]:
        (folder / "train" / "fg" / f"{stem}.png").write_bytes(b"")
    (folder / "val" / "fg" / f"{stems(folder, 'val')[0]}.png").write_bytes(b"")
    check = checked(folder)
    assert [one.split for one in check.errors] == ["fit", "val"]
    assert [one.split for one in check.allowing(1).errors] == ["fit", "val"]
    allowing = check.allowing(2)
    assert [(one.split, one.is_error) for one in allowing.findings] == [("val", True), ("fit", False)]


@pytest.mark.parametrize(
    ("lost", "says"),
    [("val", "val is empty: 0 images in val/fg"), ("train/alpha/0003.png", "images without matte in train: 1 (0003)")],
)
def test_what_does_not_belong_together_is_one_error(folder: Path, lost: str, says: str) -> None:
    (folder / lost).rename(folder.parent / "lost")
    check, thumbnails = check_folder(Portraits, folder)
    (finding,) = check.errors
    assert says in finding.sentence
    assert (finding.kind, finding.amount, thumbnails) == ("unusable layout", "", [])
    assert check.summary == "0 images, 1 error, 0 warnings"


def test_too_few_images_to_tune_are_an_error_of_the_layout(folder: Path) -> None:
    for stem in [*stems(folder, "fit"), *stems(folder, "tune")][4:]:
        for part in ("fg", "alpha"):
            (folder / "train" / part / f"{stem}.png").unlink()
    assert "train has 4 pairs, wanted at least 5" in the_only(folder).sentence


def test_links_are_followed_and_one_without_a_goal_is_a_missing_partner(folder: Path) -> None:
    stem = stems(folder, "fit")[0]
    path = folder / "train" / "fg" / f"{stem}.png"
    path.rename(folder.parent / "elsewhere.png")
    path.symlink_to(folder.parent / "elsewhere.png")
    assert checked(folder).findings == ()
    for goal in (folder / "nowhere.png", path):  # and one that leads to itself
        path.unlink()
        path.symlink_to(goal)
        assert f"mattes without image in train: 1 ({stem})" in the_only(folder).sentence


def test_names_of_other_alphabets_are_shown_as_they_are(folder: Path) -> None:
    name = "портрет 写真 <b>"
    stem = stems(folder, "val")[0]
    for part in ("fg", "alpha"):
        (folder / "val" / part / f"{stem}.png").rename(folder / "val" / part / f"{name}.png")
    change_matte(folder, "val", name, np.zeros_like)
    assert the_only(folder).got.startswith(f"{name}: no pixel is half a person's")


def test_a_name_that_is_no_utf_8_is_an_error_that_shows_its_bytes(folder: Path) -> None:
    stem = stems(folder, "val")[0]
    for part in ("fg", "alpha"):
        where = os.fsencode(folder / "val" / part)
        os.rename(os.path.join(where, f"{stem}.png".encode()), os.path.join(where, b"\xff.png"))
    assert r"names in val that are no UTF-8 or hold a backslash: 1 (\udcff)" in the_only(folder).sentence


def test_examples_and_pictures_are_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_check, "PICTURED", 7)
    for split in ("fit", "tune"):
        for stem in stems(folder, split):
            change_matte(folder, split, stem, np.zeros_like)
    check, thumbnails = check_folder(Portraits, folder)
    fit = next(one for one in check.findings if one.split == "fit")
    assert len(fit.examples) == data_check.EXAMPLES
    assert fit.got.endswith("; and 15 more")
    assert len(thumbnails) == 7


def test_thumbnails_are_small_jpegs(folder: Path) -> None:
    stem = stems(folder, "val")[0]
    for part, picture in (("fg", np.zeros((600, 300, 3), np.uint8)), ("alpha", np.zeros((600, 300), np.uint8))):
        write_png(folder / "val" / part / f"{stem}.png", picture)
    (one,) = check_folder(Portraits, folder)[1]
    assert isinstance(one, Thumbnail)
    assert [cv2.imdecode(np.frombuffer(p, np.uint8), 1).shape for p in one.pictures] == [(160, 80, 3)] * 2


def test_a_workload_that_finds_nothing_wrong_with_labels_is_counted(tmp_path: Path) -> None:
    (tmp_path / "drawings.json").write_text('{"fit": 3, "tune": 2, "val": 2}')
    check, _ = check_data(Drawings(tmp_path))
    assert check.summary == "7 images, 0 errors, 0 warnings"
    assert check.splits[0].largest == "64 × 64"
