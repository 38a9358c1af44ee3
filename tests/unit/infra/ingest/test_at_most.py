from __future__ import annotations

import logging

import pytest

from infra.ingest.at_most import AtMost


def test_a_flood_is_cut_and_counted_and_leaves_other_levels_alone(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    log, at_most = logging.getLogger("flooded"), AtMost(2, clock=lambda: now)
    log.addFilter(at_most)
    try:
        for number in range(1000):
            log.warning("refused %d", number)
        log.error("disk full")
        assert caplog.messages == ["refused 0", "refused 1", "disk full"]
        now += 60.0
        log.warning("refused %s", "again")
        log.warning("refused")
        assert caplog.messages[3:] == ["refused again (before this, 998 lines were left out)", "refused"]
    finally:
        log.removeFilter(at_most)
