"""Command line of a single-machine run: `python -m infra.local_stack {up,down,status,nightly}`.

Exit codes: 0 good, 1 the run failed or a service does not run, 2 usage, 3 a service or setting, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from infra.device.errors import InfraError, SettingsError
from infra.device.shown import ShownParser, shown_lines
from infra.errors import StackError
from infra.local_stack.nightly import run_nightly
from infra.local_stack.services import BUCKET, PACKAGES, TARGETS
from infra.local_stack.stack import Stack

DEPLOYMENT = "compress/on-demand"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    stack = Stack(options.folder, options.project, os.environ, options.target or TARGETS)
    try:
        if options.verb in ("nightly", "up"):
            _require_packages(options.verb)
        if options.verb == "nightly":
            return run_nightly(stack, DEPLOYMENT, _read_parameters(options.parameters_file))
        if options.verb == "up":
            stack.up()
        if options.verb == "down":
            stack.down()
            return 0
        return _print_status(stack)
    except InfraError as error:
        print(shown_lines(f"{type(error).__name__}: {error}"), file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _require_packages(verb: str) -> None:
    """In the words of `modnet.extras`, which infra does not know."""
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise StackError(
                f"python -m infra.local_stack {verb} needs {package}, which is not installed: "
                "pip install 'modnet-edge[pipeline]'"
            )


def _print_status(stack: Stack) -> int:
    for name, process in stack.status().items():
        print(f"{name:8} {f'runs (pid {process.pid})' if process else 'does not run'}")
    if not stack.is_up():
        return 1
    print(f"Prefect  {stack.ui_url}  asks once for `prefect` of `secrets` in {stack.folder / 'stack.json'}")
    print(f"S3       {stack.store_endpoint}  bucket {BUCKET}")
    print(f"ingest   {stack.ingest_url}\nlogs     {stack.folder / 'log'}")
    is_development = (stack.keys / "root.pem").exists()
    note = " (of a development root: the root key is not offline, see docs/keys.md)" if is_development else ""
    print(f"keys     {stack.keys}{note}")
    return 0


def _read_parameters(path: Path) -> dict[str, Any]:
    try:
        parameters = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: wanted a JSON object with the parameters of {DEPLOYMENT}: {error}") from error
    if not isinstance(parameters, dict):
        raise SettingsError(
            f"{path}: wanted a JSON object with the parameters of {DEPLOYMENT}, got {parameters!r:.200}"
        )
    return parameters


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Lets SIGTERM end a command as Ctrl-C does, through its `finally` blocks."""
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    project = Path(__file__).resolve().parents[2]
    parser = ShownParser(prog="python -m infra.local_stack", description="Services of a single-machine run.")
    parser.add_argument("--folder", type=Path, default=project / ".modnet", help="of the stack's data and logs")
    parser.add_argument("--project", type=Path, default=project, help="folder of prefect.yaml")
    parser.add_argument("--target", action="append", help=f"what the agent measures; default {', '.join(TARGETS)}")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("up", help="start what does not run yet, and deploy the flows")
    verbs.add_parser("down", help="end everything that was started; data stays")
    verbs.add_parser("status", help="say what runs, and where")
    nightly = verbs.add_parser("nightly", help=f"one run of {DEPLOYMENT}, followed to its end")
    nightly.add_argument("--parameters-file", type=Path, required=True, help="JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
