from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.device.errors import StoreUnavailableError
from infra.device.stores.folder_store import FolderStore
from infra.local_stack.wait_for_store import READY_KEY, wait_for_store


class StartingStore(FolderStore):
    """A server that takes writes at once, and loses its first reads while it starts."""

    def __init__(self, folder: Path, lost_reads: int) -> None:
        super().__init__(folder)
        self.lost_reads = lost_reads

    def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        if self.lost_reads:
            self.lost_reads -= 1
            raise StoreUnavailableError("still starting")
        return super().get(key, max_bytes=max_bytes)


def test_wait_for_store_returns_when_reads_have_begun_to_work(tmp_path: Path) -> None:
    store = StartingStore(tmp_path, lost_reads=2)
    wait_for_store(store, 30.0)
    assert store.lost_reads == 0
    assert store.exists(READY_KEY)


def test_wait_for_store_says_why_when_the_time_is_up(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match=r"not ready after 0 s: still starting"):
        wait_for_store(StartingStore(tmp_path, lost_reads=1000), 0.0)


@pytest.mark.parametrize(("url", "exit_code"), [("file://{}", 0), ("http://nowhere", 3)], ids=["ready", "setting"])
def test_main_exits_with_the_outcome(url: str, exit_code: int, tmp_path: Path) -> None:
    environ = {**os.environ, "MODNET_STORE": url.format(tmp_path)}
    command = [sys.executable, "-m", "infra.local_stack.wait_for_store", "--limit-s", "5"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == exit_code
    assert ("MODNET_STORE" in done.stderr) == (exit_code == 3)
