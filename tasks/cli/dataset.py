"""`modnet dataset fetch`."""

from __future__ import annotations

from pathlib import Path

from modnet.workloads.matting.data.indexing import index_dataset
from tasks.cli.exit_codes import UsageError
from tasks.cli.flags import Options, Result
from tasks.cli.given import given_folder


def fetch_dataset(options: Options) -> Result:
    """Fetches, verifies and indexes a data set."""
    if options.sha256 is not None and (options.source == "synthetic" or Path(options.source).is_dir()):
        raise UsageError(f"--sha256 would do nothing: it is of an archive, and {options.source} is none")
    folder = given_folder(options.source, options.sha256)
    index = index_dataset(folder)
    return {
        "folder": str(folder),
        "fit": len(index.split("fit")),
        "tune": len(index.split("tune")),
        "val": len(index.val),
    }
