from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.device.files.atomic_file import atomic_file


@contextmanager
def _refusing() -> Iterator[None]:
    raise PermissionError("not now")
    yield


def _write_half(path: Path) -> None:
    with atomic_file(path) as file:
        file.write(b"half of the n")
        raise OSError("the disk was pulled")


def test_atomic_file_replaces_the_file_when_the_block_ends_well(tmp_path: Path) -> None:
    path = tmp_path / "made" / "state.json"
    for content in (b"first", b"second"):
        with atomic_file(path) as file:
            file.write(content)
        assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_atomic_file_keeps_the_old_file_when_the_block_raises(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="pulled"):
        _write_half(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_file_keeps_the_old_file_when_the_gate_refuses(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(b"old")
    with pytest.raises(PermissionError), atomic_file(path, gate=_refusing()) as file:
        file.write(b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
