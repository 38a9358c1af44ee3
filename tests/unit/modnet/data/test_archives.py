from __future__ import annotations

import hashlib
import logging
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from modnet.data.archives import DatasetIndex, Pair, extract_archive, fetch_archive, find_images, index_dataset
from modnet.errors import DatasetError
from modnet.workloads.matting.data.images import read_pair

PORTRAITS = Path(__file__).resolve().parents[4] / ".." / "shared" / "data" / "portraits-mini.zip"
PORTRAITS_SHA256 = "772d5328a126ab37f62f121fdf7d41dc978d67a621e1426d855392f1d69e0b9c"

NAMES = ("set/train/fg/a.jpg", "set/train/alpha/a.png", "set/val/fg/b.png", "set/val/alpha/b.png")


def zipped(path: Path, *entries: str | zipfile.ZipInfo, content: bytes = b"content") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in entries:
            archive.writestr(entry, content)
    return path


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"content")
    return folder


def entry_of_kind(kind: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo("set/odd")
    entry.create_system, entry.external_attr = 3, (kind | 0o777) << 16
    return entry


def patched(path: Path, offset_in_directory: int, layout: str, value: int) -> Path:
    """The zip with one field of its first directory entry changed."""
    content = bytearray(path.read_bytes())
    struct.pack_into(layout, content, content.index(b"PK\x01\x02") + offset_in_directory, value)
    path.write_bytes(content)
    return path


# extract_archive


def test_extract_archive_gives_the_files_in_a_folder_named_by_digest(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "set.zip", "set/", *NAMES)
    folder = extract_archive(archive, tmp_path / "data")
    assert folder == tmp_path / "data" / hashlib.sha256(archive.read_bytes()).hexdigest()[:12]
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == set(NAMES)
    assert (folder / NAMES[0]).read_bytes() == b"content"
    assert list((tmp_path / "data").iterdir()) == [folder]


def test_extract_archive_does_nothing_when_called_again(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "set.zip", *NAMES)
    folder = extract_archive(archive, tmp_path)
    before = (folder / NAMES[0]).stat()
    assert extract_archive(archive, tmp_path) == folder
    assert (folder / NAMES[0]).stat().st_ino == before.st_ino


def test_extract_archive_gives_another_folder_when_archive_changed(tmp_path: Path) -> None:
    first = extract_archive(zipped(tmp_path / "set.zip", *NAMES), tmp_path)
    assert extract_archive(zipped(tmp_path / "set.zip", *NAMES, content=b"changed"), tmp_path) != first


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "absolute": (lambda p: zipped(p, "/etc/passwd"), r"'/etc/passwd' has an absolute path"),
    "drive": (lambda p: zipped(p, "C:/windows"), "absolute path"),
    "parent": (lambda p: zipped(p, "set/../../up"), r"'set/../../up' points outside"),
    "backslash": (lambda p: zipped(p, "..\\up"), "backslash"),
    "no name": (lambda p: zipped(p, "./"), "names no file"),
    "symbolic link": (lambda p: zipped(p, entry_of_kind(stat.S_IFLNK)), "'set/odd' is a link"),
    "device": (lambda p: zipped(p, entry_of_kind(stat.S_IFCHR)), "'set/odd' is a device"),
    "pipe": (lambda p: zipped(p, entry_of_kind(stat.S_IFIFO)), "'set/odd' is a device"),
    "same path twice": (lambda p: zipped(p, "set/a", "set//a"), "'set//a' appears twice"),
    "encrypted": (lambda p: patched(zipped(p, "set/a"), 8, "<H", 1), "'set/a' is encrypted"),
    "compression": (lambda p: patched(zipped(p, "set/a"), 10, "<H", 99), "'set/a' has compression method 99"),
    "longer than declared": (lambda p: patched(zipped(p, "set/a"), 24, "<I", 3), "'set/a' is damaged"),
    "shorter than declared": (lambda p: patched(zipped(p, "set/a"), 24, "<I", 100), "'set/a'"),
    "checksum": (lambda p: patched(zipped(p, "set/a"), 16, "<I", 1), "'set/a' is damaged"),
    "file as folder": (lambda p: zipped(p, "set/a", "set/a/b"), "set/a"),
    "bomb": (lambda p: zipped(p, "set/small", "set/zeros", content=bytes(2**22)), "'set/.*with 4194304.*200 times"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_extract_archive_names_entry_and_reason_when_it_is_hostile(tmp_path: Path, case: str) -> None:
    make, message = HOSTILE[case]
    archive = make(tmp_path / "hostile.zip")
    with pytest.raises(DatasetError, match=message):
        extract_archive(archive, tmp_path / "data")
    assert list((tmp_path / "data").glob("*")) == []
    assert {path.name for path in tmp_path.iterdir()} <= {"hostile.zip", "data"}


def test_extract_archive_refuses_name_when_it_hides_something_behind_nul(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "nul.zip", "set/a.jpg_.exe")
    archive.write_bytes(archive.read_bytes().replace(b"a.jpg_.exe", b"a.jpg\0.exe"))
    with pytest.raises(DatasetError, match="NUL"):
        extract_archive(archive, tmp_path / "data")


def test_extract_archive_refuses_entry_when_the_name_that_it_is_written_to_points_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Since Python 3.12 that name may come from the entry's Unicode Path field."""
    archive, entry = zipped(tmp_path / "set.zip", "set/a"), zipfile.ZipInfo("set/a")
    entry.filename = "../up"
    monkeypatch.setattr(zipfile.ZipFile, "infolist", lambda _opened: [entry])
    with pytest.raises(DatasetError, match="'set/a' points outside"):
        extract_archive(archive, tmp_path / "data")


def test_extract_archive_names_entry_when_its_name_is_damaged_where_the_entry_begins(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "set.zip", "set/ä")
    archive.write_bytes(archive.read_bytes().replace("ä".encode(), b"\xff\xff", 1))
    with pytest.raises(DatasetError, match="'set/ä' is damaged"):
        extract_archive(archive, tmp_path / "data")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_bytes": 27}, "28 bytes.*allowed are 27 bytes"),
        ({"max_files": 3}, "4 entries, at most 3"),
        ({"max_ratio": 0.01}, "0.01 times its size"),
    ],
    ids=["bytes", "files", "ratio"],
)
def test_extract_archive_states_the_limit_when_it_is_exceeded(
    tmp_path: Path, limits: dict[str, float], message: str
) -> None:
    archive = zipped(tmp_path / "set.zip", *NAMES)
    with pytest.raises(DatasetError, match=message):
        extract_archive(archive, tmp_path / "data", **limits)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x03\x04 cut off"])
def test_extract_archive_names_file_when_it_is_no_zip(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "page.zip").write_bytes(content)
    with pytest.raises(DatasetError, match=r"page\.zip.*not a zip"):
        extract_archive(tmp_path / "page.zip", tmp_path)


def test_extract_archive_names_file_when_it_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"absent\.zip"):
        extract_archive(tmp_path / "absent.zip", tmp_path)


def test_extract_archive_names_folder_when_it_cannot_be_written(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "set.zip", *NAMES)
    with pytest.raises(DatasetError, match=r"folder .*set\.zip"):
        extract_archive(archive, archive)


def test_extract_archive_gives_all_or_nothing_when_any_bytes_are_damaged(tmp_path: Path) -> None:
    whole = zipped(tmp_path / "whole.zip", *NAMES, content=b"some content " * 9).read_bytes()
    rng = np.random.default_rng(0)
    damaged = [whole[: int(rng.integers(len(whole)))] for _ in range(60)]
    for _ in range(300):
        flipped = bytearray(whole)
        flipped[int(rng.integers(len(whole)))] ^= 1 << int(rng.integers(8))
        damaged.append(bytes(flipped))
    refused = 0
    for number, content in enumerate(damaged):
        (tmp_path / "damaged.zip").write_bytes(content)
        folder = tmp_path / f"data{number}"
        try:
            extracted = extract_archive(tmp_path / "damaged.zip", folder)
        except DatasetError:
            refused += 1
            assert not folder.exists() or list(folder.iterdir()) == []
        else:  # the damage was in a date, a comment, a name
            files = [path for path in extracted.rglob("*") if path.is_file()]
            assert all(path.read_bytes() == b"some content " * 9 for path in files)
    assert refused > 150


# index_dataset


def test_index_dataset_pairs_by_stem_whatever_the_format(tmp_path: Path) -> None:
    names = ["b.JPG", "a.png", "c.d.webp", "e.bmp", "f.jpeg"]
    mattes = ["b.png", "a.jpg", "c.d.PNG", "e.png", "f.png"]
    tree(tmp_path, *(f"my/set/train/fg/{name}" for name in names), *(f"my/set/train/alpha/{name}" for name in mattes))
    tree(tmp_path, "my/set/val/fg/v.png", "my/set/val/alpha/v.png", "my/set/train.txt")
    index = index_dataset(tmp_path)
    assert [pair.stem for pair in index.train] == ["a", "b", "c.d", "e", "f"]
    assert index.train[1] == Pair(stem="b", image="my/set/train/fg/b.JPG", matte="my/set/train/alpha/b.png")
    assert [pair.stem for pair in index.val] == ["v"]


def test_index_dataset_finds_the_layout_when_folder_is_the_top(tmp_path: Path) -> None:
    tree(tmp_path, *(name.removeprefix("set/") for name in NAMES))
    assert index_dataset(tmp_path).val[0].image == "val/fg/b.png"


def test_index_dataset_leaves_hidden_files_and_other_files_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hidden = [
        "__MACOSX/set/train/fg/._a.jpg",
        ".trash/set/train/fg/x.jpg",
        "set/train/fg/._a.jpg",
        "set/val/fg/.DS_Store",
    ]
    tree(tmp_path, *NAMES, *hidden, "set/train/fg/Thumbs.db")
    with caplog.at_level(logging.WARNING):
        index = index_dataset(tmp_path)
    assert (len(index.train), len(index.val)) == (1, 1)
    assert "Thumbs.db" in caplog.text
    assert "DS_Store" not in caplog.text


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "got none"),
        (("elsewhere/a.jpg",), "got none"),
        ((*NAMES, *(f"two/{name}" for name in NAMES)), "got .*/set, .*/two/set"),
        (NAMES[:2], r"val is empty: 0 images in val/fg, 0 mattes in val/alpha"),
        (NAMES[:3], r"val is empty: 1 images in val/fg, 0 mattes in val/alpha"),
        ((*NAMES, "set/train/fg/x.jpg"), r"images without matte in train: 1 \(x\)"),
        ((*NAMES, "set/val/alpha/x.png"), r"mattes without image in val: 1 \(x\)"),
        (
            (*NAMES, *(f"set/train/fg/{stem}.jpg" for stem in "tuvwxyz")),
            r"images without matte in train: 7 \(t, u, v, w, x, …\)",
        ),
        ((*NAMES, "set/train/fg/a.png"), r"stems of several files in train/fg: 1 \(a\)"),
        ((*NAMES, "set/train/fg/x.jpg", "set/val/alpha/y.png"), r"\(x\); mattes without image in val: 1 \(y\)"),
    ],
    ids=[
        "nothing",
        "another layout",
        "two",
        "no val",
        "no mattes",
        "image alone",
        "matte alone",
        "seven alone",
        "stem twice",
        "all problems",
    ],
)
def test_index_dataset_says_what_is_wrong_when_pairs_are_incomplete(
    tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        index_dataset(tree(tmp_path, *names))


# DatasetIndex


def index_of(train: int, val: int = 1) -> DatasetIndex:
    def pairs(split: str, count: int) -> tuple[Pair, ...]:
        return tuple(
            Pair(stem=f"{n:04d}", image=f"{split}/fg/{n:04d}.jpg", matte=f"{split}/alpha/{n:04d}.png")
            for n in range(count)
        )

    return DatasetIndex(train=pairs("train", train), val=pairs("val", val))


@pytest.mark.parametrize(("train", "tune"), [(5, 4), (24, 4), (40, 4), (50, 5), (109, 10), (803, 80)])
def test_split_divides_train_into_fit_and_tune(train: int, tune: int) -> None:
    index = index_of(train)
    assert len(index.split("tune")) == tune
    assert sorted((*index.split("fit"), *index.split("tune")), key=lambda pair: pair.stem) == list(index.train)
    assert not set(index.split("tune")) & set(index.split("val"))


def test_split_takes_the_smallest_digests_for_tune() -> None:
    index = index_of(60)
    ordered = sorted(index.train, key=lambda pair: hashlib.sha256(pair.stem.encode()).digest())
    assert set(index.split("tune")) == set(ordered[:6])


def test_split_moves_at_most_one_pair_when_one_is_added() -> None:
    for count in range(40, 70):
        before, after = (set(index_of(n).split("tune")) for n in (count, count + 1))
        assert len(before - after) <= 1


@pytest.mark.parametrize("name", ["fit", "tune"])
def test_split_says_how_many_are_needed_when_train_is_too_small(name: Literal["fit", "tune"]) -> None:
    with pytest.raises(DatasetError, match="4 pairs, wanted at least 5"):
        index_of(4).split(name)


def test_dataset_index_survives_json() -> None:
    index = index_of(7, 3)
    assert DatasetIndex.from_json(index.to_json()) == index


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("{", ""), "index"),
        (("train/fg/0000.jpg", "../../etc/passwd"), "train.0.image.*points outside"),
        (("train/fg/0000.jpg", "/etc/passwd"), "train.0.image.*absolute"),
        (('"val"', '"test"'), "val"),
    ],
    ids=["no JSON", "points outside", "absolute", "missing split"],
)
def test_from_json_names_the_field_when_text_is_no_index(change: tuple[str, str], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        DatasetIndex.from_json(index_of(1).to_json().replace(*change))


# Real portraits


@pytest.mark.skipif(not PORTRAITS.exists(), reason="needs ../shared/data/portraits-mini.zip")
def test_archive_of_real_portraits_becomes_readable_pairs(tmp_path: Path) -> None:
    folder = extract_archive(fetch_archive(str(PORTRAITS), tmp_path, sha256=PORTRAITS_SHA256), tmp_path)
    index = index_dataset(folder)
    assert (len(index.train), len(index.val)) == (24, 8)
    assert (len(index.split("fit")), len(index.split("tune"))) == (20, 4)
    for pair in index.val:
        image, alpha = read_pair(folder / pair.image, folder / pair.matte)
        assert max(image.shape) == 512
        assert (alpha.min(), alpha.max()) == (0.0, 1.0)
        assert ((alpha > 0) & (alpha < 1)).any()


def test_find_images_lists_what_is_below_a_folder_in_order_and_logs_the_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in (
        "b.jpg",
        "a/z.PNG",
        "a/c.webp",
        "a/d.HEIC",
        "a/e.cr3",
        ".hidden.jpg",
        ".git/d.jpg",
        "__MACOSX/b.jpg",
        "notes.txt",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert find_images(tmp_path) == ("a/c.webp", "a/d.HEIC", "a/z.PNG", "b.jpg")
    assert f"left out 2 files in {tmp_path}" in caplog.text
    assert "['notes.txt', 'a/e.cr3']" in caplog.text


def test_find_images_names_the_folder_when_there_are_none(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DatasetError, match=str(tmp_path)):
        find_images(tmp_path)


@pytest.mark.parametrize("split", ["train", "val"])
def test_index_dataset_names_split_and_folder_when_one_split_is_empty(tmp_path: Path, split: str) -> None:
    for name in ("train/fg/1.jpg", "train/alpha/1.png", "val/fg/1.jpg", "val/alpha/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if not name.startswith(split):
            (tmp_path / name).touch()
    with pytest.raises(DatasetError, match=f"{tmp_path}: {split} is empty"):
        index_dataset(tmp_path)
