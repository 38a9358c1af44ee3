"""`modnet dataset fetch`."""

from __future__ import annotations

from pathlib import Path

from tasks.cli import flags
from tasks.cli.flags import Options, Result, UsageError, Verbs
from tasks.cli.given import given_dataset


def add_to(verbs: Verbs) -> None:
    """Adds the verbs of this file."""
    fetch = verbs.group("dataset", "fetches a data set").add("fetch", fetch_dataset)
    fetch.add_argument("source", help="synthetic, ppm-100, a zip or a URL")
    fetch.add_argument("--sha256", type=flags.digest, help="refuse an archive with another digest")


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
