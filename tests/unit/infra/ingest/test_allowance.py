from __future__ import annotations

import pytest

from infra.device.stores.folder_store import FolderStore
from infra.ingest.allowance import Allowance, Limits
from infra.ingest.refusal import RefusedError


def test_a_device_may_send_so_many_a_minute_and_again_after_a_pause() -> None:
    now = 0.0
    allowance = Allowance("pi", Limits(per_minute=3), clock=lambda: now)

    def is_taken() -> bool:
        try:
            allowance.take_request()
        except RefusedError:
            return False
        return True

    def sent() -> int:
        return sum(is_taken() for _ in range(10))

    assert sent() == 3
    now += 20.0
    assert sent() == 1
    now += 3600.0
    assert sent() == 3
    with pytest.raises(RefusedError, match="'pi': more than 3 reports a minute"):
        allowance.take_request()


@pytest.mark.parametrize("limits", [Limits(reports=2), Limits(stored_bytes=25)], ids=["count", "bytes"])
def test_a_device_stores_so_many_and_what_was_removed_makes_room(store: FolderStore, limits: Limits) -> None:
    store.put("reports/pi/r/before.json", bytes(10))
    store.put("reports/pie/r/anothers.json", bytes(1000))
    allowance = Allowance("pi", limits)
    allowance.require_room(store, 10)
    store.put("reports/pi/r/a.json", bytes(10))
    allowance.add_stored(10)
    with pytest.raises(RefusedError, match="'pi': has 2 reports of 20 bytes in the store, wanted at most"):
        allowance.require_room(store, 10)
    store.delete("reports/pi/r/before.json")
    allowance.require_room(store, 10)
