"""Console script `modnet`: the stages for people, without Prefect, on files of this machine. One file per kind of verb.

Exit codes: 0 done · 1 failed · 2 usage · 3 a setting, file or network that cannot be used · 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence

from infra.errors import InfraError, SettingsError
from infra.shown import ShownFormatter, ShownParser, shown, shown_lines
from modnet.errors import CheckpointError, ConfigError, DatasetError, ModnetError, PruningError
from tasks.cli import config, dataset, export, inspection, mattes, pruning, sensitivity, training
from tasks.cli.flags import Result, UsageError, Verbs

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb and returns its exit code."""
    if logging.lastResort is not None:  # writes the warnings of whoever has set up no logging
        logging.lastResort.setFormatter(ShownFormatter("%(message)s"))
    options = _parser().parse_args(arguments)
    try:
        result: Result = options.run(options)
    except UsageError as error:
        return _fail(error, 2)
    except (ConfigError, SettingsError, CheckpointError, DatasetError, PruningError) as error:
        return _fail(error, 3)
    except (ModnetError, InfraError, OSError) as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
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
        line = f"{name}: {json.dumps(value) if isinstance(value, dict) else value}"
        print(shown_lines(value) if name == "table" else shown(line))


def _parser() -> argparse.ArgumentParser:
    parser = ShownParser(
        prog="modnet",
        description="Prune, retrain, evaluate and export MODNet portrait matting.",
        epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 unusable setting, file or network, 130 interrupted.",
    )
    verbs = Verbs(parser)
    for kind in (dataset, training, pruning, sensitivity, inspection, mattes, export, config):
        kind.add_to(verbs)
    return parser


def _fail(error: object, code: int) -> int:
    print(f"modnet: error: {shown(error)}", file=sys.stderr)
    return code
