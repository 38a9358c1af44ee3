"""`modnet dataset fetch`."""

from __future__ import annotations

from pathlib import Path

from tasks.cli.exit_codes import UsageError
from tasks.cli.flags import Options, Result
from tasks.cli.given import given_dataset


def fetch_dataset(options: Options) -> Result:
    """Fetches, verifies and indexes a data set."""
    if options.sha256 is not None and (options.source == "synthetic" or Path(options.source).is_dir()):
        raise UsageError(f"--sha256 would do nothing: it is of an archive, and {options.source} is none")
    folder, index = given_dataset(options.source, sha256=options.sha256)
    return {
        "folder": str(folder),
        "fit": len(index.split("fit")),
        "tune": len(index.split("tune")),
        "val": len(index.val),
    }
