"""Flow sweep."""

from prefect import flow

from modnet.report.run_tables import Row
from tasks.sweep import settle_lost_runs


@flow(name="sweep")
def sweep() -> list[Row]:
    """Settles runs that nobody computes any more, ends what killed runs have left behind, and returns a row for each.

    A run whose process is gone is `Crashed`, and so is what is open below it. A computing run that was lost within the
    last three hours starts again, once, and goes on from the store. Of runs on other machines the heartbeat decides:
    silent for half an hour, and for seven minutes more in which this flow listens. This runs every ten minutes.
    """
    return settle_lost_runs()
