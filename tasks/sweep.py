"""Task of the flow sweep."""

import os

from prefect import get_run_logger, task

from infra.local_stack.environments import MARKER
from infra.local_stack.prefect_api import PrefectApi
from infra.local_stack.sweep import LISTENED_FOR_S, SWEPT, as_lines, sweep
from modnet.report.run_tables import Row
from tasks.artifacts import create_table_artifact


@task
def settle_lost_runs() -> list[Row]:
    """Sweeps, tells in log and table what that has changed, and returns it. The next sweep is its other try."""
    api = PrefectApi(os.environ["PREFECT_API_URL"], os.environ.get("PREFECT_API_AUTH_STRING", ""))
    rows = sweep(api, os.environ.get(MARKER), LISTENED_FOR_S)
    for line in as_lines(rows):
        get_run_logger().warning("%s", line)
    if rows:
        create_table_artifact(rows, key="sweep", description=SWEPT)
    return rows
