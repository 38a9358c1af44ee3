"""Flow tidy."""

from prefect import flow

from tasks.configs.tidy import TidyConfig
from tasks.tidy import tidy_machine, tidy_store


@flow(name="tidy")
def tidy(config: TidyConfig = TidyConfig()) -> str:
    """Removes what nothing needs any more: from the store, and from this machine's cache and logs.

    The last `keep_runs` run pages stay with every network and answer that they show, and so does all that releases
    were made of, and whatever was used in the last `keep_days` days. Releases are never touched: `retire` and `retain`
    look after them. With `dry_run` the table alone is made. In a store that was never tidied the first week of runs
    only shows what would go; `modnet store tidy` removes it at once.
    """
    try:
        return tidy_store(config)
    finally:
        tidy_machine(config)
