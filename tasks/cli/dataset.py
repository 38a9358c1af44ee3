"""`modnet dataset fetch`."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from modnet.workload import Split
from modnet.workloads import workload_named
from tasks.cli.exit_codes import UsageError
from tasks.cli.flags import Options, Result
from tasks.cli.given import USUAL_WORKLOAD, given_folder


def fetch_dataset(options: Options) -> Result:
    """Fetches, verifies and indexes a data set."""
    if options.sha256 is not None and (options.source == "synthetic" or Path(options.source).is_dir()):
        raise UsageError(f"--sha256 would do nothing: it is of an archive, and {options.source} is none")
    folder = given_folder(options.source, options.sha256)
    data = workload_named(USUAL_WORKLOAD).open(folder)
    return {"folder": str(folder), **{split: len(data.names(split)) for split in get_args(Split)}}
