"""Console script `modnet`: the stages for people, without Prefect, on files of this machine. One file per kind of verb.

Exit codes: 0 done · 1 failed · 2 usage · 3 a setting, file or network that cannot be used · 130 interrupted. Which
error has which is in `tasks.cli.exit_codes`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from tasks.cli import config, dataset, export, inspection, mattes, pruning, sensitivity, training
from tasks.cli.exit_codes import EXIT_CODES, exit_code, words
from tasks.cli.flags import Result, Verbs

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb and returns its exit code."""
    try:
        options = _parser().parse_args(arguments)
        result: Result = options.run(options)
    except tuple(EXIT_CODES) as error:
        print(f"modnet: error: {words(error)}", file=sys.stderr)
        return exit_code(error)
    try:
        _show(result, as_json=options.json)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough; Python would try to flush again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _show(result: Result, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result, sort_keys=True))
        return
    for name, value in result.items():
        print(value if name == "table" else f"{name}: {json.dumps(value) if isinstance(value, dict) else value}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="modnet",
        description="Prune, retrain, evaluate and export MODNet portrait matting.",
        epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 unusable setting, file or network, 130 interrupted.",
    )
    verbs = Verbs(parser)
    for kind in (dataset, training, pruning, sensitivity, inspection, mattes, export, config):
        kind.add_to(verbs)
    return parser
