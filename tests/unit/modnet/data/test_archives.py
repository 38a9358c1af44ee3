from __future__ import annotations

import hashlib
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from modnet.data import archives
from modnet.data.archives import extract_archive
from modnet.errors import DatasetError

NAMES = ("set/train/fg/a.jpg", "set/train/alpha/a.png", "set/val/fg/b.png", "set/val/alpha/b.png")


def zipped(path: Path, *entries: str | zipfile.ZipInfo, content: bytes = b"content") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in entries:
            archive.writestr(entry, content)
    return path


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
    ("name", "limit", "message"),
    [
        ("MAX_BYTES", 27, "28 bytes.*allowed are 27 bytes"),
        ("MAX_FILES", 3, "4 entries, at most 3"),
        ("MAX_RATIO", 0.01, "0.01 times its size"),
    ],
    ids=["bytes", "files", "ratio"],
)
def test_extract_archive_states_the_limit_when_it_is_exceeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, limit: float, message: str
) -> None:
    monkeypatch.setattr(archives, name, limit)
    archive = zipped(tmp_path / "set.zip", *NAMES)
    with pytest.raises(DatasetError, match=message):
        extract_archive(archive, tmp_path / "data")


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
