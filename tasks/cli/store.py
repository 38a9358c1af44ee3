"""`modnet store`: what is in the object store of the runs."""

from __future__ import annotations

from datetime import UTC, datetime

from tasks.cli.fields import given_config
from tasks.cli.flags import Options, Result
from tasks.configs.tidy import TidyConfig
from tasks.signed import this_publisher
from tasks.stored import prompt_store
from tasks.tables import markdown_table
from tasks.tidying import fates, freed, remove, rows


def tidy_store(options: Options) -> Result:
    """Removes what nothing needs any more, at once; with `--dry-run` it is only shown."""
    publisher = this_publisher(prompt_store(options.store))
    sizes = publisher.store.sizes("")
    chosen = fates(publisher, datetime.now(UTC), given_config(TidyConfig, options))
    table = rows(sizes, chosen if options.dry_run else remove(publisher.store, chosen))
    word = "would go" if options.dry_run else "removed"
    shown = {"objects": table} if options.json else {"table": markdown_table(table)}
    return {**shown, word: freed(table)}
