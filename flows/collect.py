"""Flow collect."""

from prefect import flow

from tasks.collect import collect_new, publish_fleet


@flow(name="collect")
def collect(slower_by: float = 0.02, silent_after_h: float = 24.0) -> str:
    """Collects what devices have reported since the last time, and writes the page of the fleet; returns its address.

    It runs every ten minutes, and some seconds after a report where the ingest tells of it. Each report is read once.
    What is no report goes to `quarantine/`. A release counts as slower where it surely takes more than `slower_by` (a
    share) longer than the one before. A device counts as silent after `silent_after_h` hours.
    """
    collect_new()
    return publish_fleet(slower_by, silent_after_h)
