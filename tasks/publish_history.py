"""Task of the flow history; `compress` calls it at its end."""

from datetime import UTC, datetime
from functools import cache

from prefect import get_run_logger, task

from infra.device.shown import shown
from tasks.artifacts import create_link_artifact
from tasks.history import remembered
from tasks.history_page import history_page
from tasks.history_summary import history_of
from tasks.retries import RETRIES, is_transient
from tasks.stored import this_store
from tasks.telling import tell_no_gain

PAGE = "history/history.html"


@task(retry_condition_fn=is_transient, **RETRIES)
def publish_history(ended: str | None = None) -> str:
    """Writes the page of all nights and returns its address.

    Args:
        ended: the night_id of a night that has just ended, if one has: people are told where it is one of several
            that gained nothing.
    """
    store = this_store()
    memory = remembered(store)
    for one in memory.left_out:
        get_run_logger().warning("left out of the history: %s: %s", one.key, one.reason)
    history = history_of(memory)
    store.put(PAGE, history_page(memory, history, cache(store.link), datetime.now(UTC)))
    address = store.link(PAGE)
    lead = " ".join(history.lead) or "No night has left anything yet."
    create_link_artifact(address, key="history", link_text="History of nights", description=f"{shown(lead)} ({PAGE})")
    if ended is not None:
        tell_no_gain(memory.nights, ended)
    return address
