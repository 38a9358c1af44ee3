"""`modnet history`: what nights have come to, as the page `history/history.html` shows it."""

from __future__ import annotations

from infra.device.stores.object_store import open_store
from infra.settings import Settings
from tasks.cli.flags import Options, Result
from tasks.history import remembered
from tasks.history_page import history_tables
from tasks.history_summary import history_of
from tasks.tables import markdown_table


def show_history(options: Options) -> Result:
    """Reads all records of nights, trials and decisions, and sums them up."""
    history = history_of(remembered(open_store(Settings.from_env().store_url)))
    if options.json:
        return history.model_dump(mode="json")
    tables = [f"{title}\n\n{markdown_table(rows)}" for title, rows in history_tables(history).items()]
    lead = " ".join(history.lead) or "no night has left anything in this store yet: start one by `make nightly`"
    return {"history": lead, "table": "\n\n".join(tables) or "(nothing)"}
