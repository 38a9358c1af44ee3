"""Console script `modnet`: the stages for people, without Prefect, on files of this machine. One file per kind of verb.

Exit codes: 0 done · 1 failed · 2 usage · 3 a setting, file or network that cannot be used · 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from infra.errors import InfraError, SettingsError
from modnet.errors import CheckpointError, ConfigError, DatasetError, ModnetError, PruningError
from tasks.cli import config, dataset, export, inspection, mattes, pruning, sensitivity, training
from tasks.cli.flags import PartlyDoneError, Result, UsageError, Verbs

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb and returns its exit code."""
    options = _parser().parse_args(arguments)
    partly: PartlyDoneError | None = None
    try:
        result: Result = options.run(options)
    except PartlyDoneError as error:
        partly, result = error, error.result
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
    return 0 if partly is None else _fail(partly, 1)


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


def _fail(error: object, code: int) -> int:
    print(f"modnet: error: {error}", file=sys.stderr)
    return code
