"""Logs are shortened while a service writes to them."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from infra.local_stack.logs import shorten_logs


def test_a_long_log_goes_on_at_its_beginning_and_old_files_of_the_store_go(tmp_path: Path) -> None:
    log, short = tmp_path / "prefect.log", tmp_path / "agent.log"
    short.write_bytes(b"line\n")
    old, new = tmp_path / "weed.log.INFO.1", tmp_path / "weed.log.INFO.2"
    for path in (old, new):
        path.write_bytes(b"")
    os.utime(old, (0, 0))
    with open(log, "ab", buffering=0) as service:
        service.write(b"first\n" * 100)
        assert shorten_logs(tmp_path, timedelta(days=1), max_bytes=510, remove=False) == [log, old]
        assert (log.stat().st_size, old.exists()) == (600, True)
        assert shorten_logs(tmp_path, timedelta(days=1), max_bytes=510) == [log, old]
        service.write(b"second\n")
    assert log.read_bytes() == b"second\n"
    assert (tmp_path / "prefect.log.1").read_bytes() == b"first\n" * 85
    assert short.read_bytes() == b"line\n"
    assert (old.exists(), new.exists()) == (False, True)
