"""Command line of the edge agent.

Exit codes:

    0  well; measured, or nothing to do
    2  usage
    3  a setting, the disk or the device of this machine, the store refuses it, or what is signed is not to be trusted
    4  the store cannot be reached, or this machine's clock is wrong; the report stays in the spool
    5  the model was rejected

`run` goes on until SIGTERM or SIGINT. What may pass (see `agent`) is logged, and the next round waits longer. Only what
nobody but the owner of this machine can mend ends it.

Flags in place of a verb are `run`, with --once `once`: service files of earlier versions have them. They say everything
themselves, so neither file nor variables are read.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.device.cli.doctor import findings
from infra.device.cli.enrol import enrol
from infra.device.cli.findings import WRONG
from infra.device.cli.read_config import FILE, KEYS, config_of_flags, config_path, read_config
from infra.device.cli.run import EXIT_CONFIGURATION, EXIT_OK, EXIT_UNREACHABLE, log_to_stderr, once, run
from infra.device.cli.status import status_lines
from infra.device.cli.unit import unit_text
from infra.device.cli.verify import verify
from infra.device.errors import InfraError, SettingsError, StoreUnavailableError
from infra.device.shown import ShownParser, shown

_PROGRAM = Path(sys.argv[0]).name if sys.argv[0].endswith(".pyz") else "python -m infra.device"
_VERBS = {
    "run": "measures every new release, until it is stopped",
    "once": "looks once, measures what is new, and ends",
    "enrol": "gets this device's key by a token, and writes the settings",
    "doctor": "says what is missing on this machine, and what to do about it",
    "status": "says what was measured, what waits, and whether the agent runs",
    "verify": "fetches what the targets run, and verifies signatures and files; measures nothing",
    "unit": "prints a systemd unit for this file and this Python",
}

_log = logging.getLogger("infra.device")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a verb, and returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments and arguments[0].startswith("-") and arguments[0] not in ("-h", "--help"):
        return _of_flags(arguments)
    options = _parser().parse_args(arguments)
    if options.verb in ("run", "once"):
        log_to_stderr()  # before anything can go wrong
    try:
        return _done(options)
    except (InfraError, OSError) as error:
        if options.verb in ("run", "once"):
            _log.error("%s: %s", type(error).__name__, error)
        else:
            sys.stderr.write(f"{shown(error)}\n")
        return EXIT_UNREACHABLE if isinstance(error, StoreUnavailableError) else EXIT_CONFIGURATION


def _done(options: argparse.Namespace) -> int:
    path: Path | None = options.config
    if options.verb == "unit":
        sys.stdout.write(unit_text(path or config_path()))
        return EXIT_OK
    if options.verb == "enrol":
        path = path or config_path()
        config = enrol(options.url, options.token, path)
        _say(f"device: {config.device}", f"settings: {path}", "now: doctor, then run")
        return EXIT_OK
    if options.verb == "doctor":
        code = EXIT_OK
        for finding in findings(lambda: read_config(path)):
            _say(f"{finding.state:7}{finding.about:14} {finding.words}")
            code = EXIT_CONFIGURATION if finding.state == WRONG else code
        return code
    config = read_config(path)
    if options.verb == "status":
        _say(*status_lines(config))
        return EXIT_OK
    if options.verb == "verify":
        code, lines = verify(config)
        _say(*lines)
        return code
    return run(config) if options.verb == "run" else once(config)


def _of_flags(arguments: Sequence[str]) -> int:
    """`run` or `once`, by flags alone."""
    parser = ShownParser(prog=_PROGRAM, description="Measures released models here. With a verb: see --help.")
    for name, key in KEYS.items():
        if name != "targets":
            parser.add_argument(f"--{name.replace('_', '-')}", help=f"{key.says}; {key.wanted}")
    parser.add_argument("--target", action="append", dest="targets", help="as cpu-fp32; may be repeated")
    parser.add_argument("--once", action="store_true", help="one round instead of a loop")
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    log_to_stderr()
    is_once = given.pop("once")
    given["targets"] = ",".join(given.get("targets", []))
    try:
        config = config_of_flags({name: value for name, value in given.items() if value})
    except SettingsError as error:
        parser.error(str(error))
    try:
        return once(config) if is_once else run(config)
    except (InfraError, OSError) as error:
        _log.error("%s: %s", type(error).__name__, error)
        return EXIT_CONFIGURATION


def _say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{shown(line)}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = ShownParser(prog=_PROGRAM, description="The edge agent: measures released models on this device.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, says in _VERBS.items():
        verb = verbs.add_parser(name, help=says, description=f"{says[0].upper()}{says[1:]}.")
        if name == "enrol":
            verb.add_argument("url", help="https://host[:port] of the ingest")
            verb.add_argument("token", help="that `modnet device invite` has printed")
        says = f"TOML file of the settings (default: the variable MODNET_AGENT_CONFIG, else {FILE})"
        verb.add_argument("--config", type=Path, metavar="FILE", help=says)
    return parser


if __name__ == "__main__":
    sys.exit(main())
