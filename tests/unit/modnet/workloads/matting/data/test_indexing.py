from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Literal

import pytest
from pydantic import ValidationError

from modnet.data.archives import extract_archive
from modnet.data.download import fetch_archive
from modnet.errors import DatasetError
from modnet.workloads.matting.data.images import read_pair
from modnet.workloads.matting.data.indexing import DatasetIndex, Pair, find_images, index_dataset

PORTRAITS = Path(__file__).resolve().parents[6] / ".." / "shared" / "data" / "portraits-mini.zip"
PORTRAITS_SHA256 = "772d5328a126ab37f62f121fdf7d41dc978d67a621e1426d855392f1d69e0b9c"

NAMES = ("set/train/fg/a.jpg", "set/train/alpha/a.png", "set/val/fg/b.png", "set/val/alpha/b.png")


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"content")
    return folder


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
    assert DatasetIndex.model_validate_json(index.model_dump_json()) == index


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("train/fg/0000.jpg", "../../etc/passwd"), "train.0.image\n.*points outside"),
        (("train/fg/0000.jpg", "/etc/passwd"), "train.0.image\n.*absolute"),
        (('"val"', '"test"'), "val\n.*required"),
    ],
    ids=["points outside", "absolute", "missing split"],
)
def test_dataset_index_names_the_field_that_is_wrong(change: tuple[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DatasetIndex.model_validate_json(index_of(1).model_dump_json().replace(*change))


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
