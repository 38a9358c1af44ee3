"""Command line of the edge agent.

Exit codes:

    0  measured, or nothing to do
    2  usage
    3  a setting, the disk or the device of this machine, the store refuses it, or what is signed is not to be trusted
    4  the store cannot be reached, or this machine's clock is wrong; the report stays in the spool
    5  the model was rejected

Without --once it runs until SIGTERM or SIGINT. What may pass (see `agent`) is logged, and the next round waits longer.
Only what nobody but the owner of this machine can mend ends it.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from infra.device.agent.agent import WAITING, Agent
from infra.device.agent.ending import ends_when_told
from infra.device.agent.lock import only_agent
from infra.device.agent.runtimes import check_runtimes
from infra.device.agent.seen import REJECTED
from infra.device.agent.settings import Deadlines, RuntimeSettings
from infra.device.agent.spool import ReportTaker
from infra.device.documents.checks import check_name
from infra.device.errors import (
    ContractError,
    InfraError,
    SettingsError,
    StoreUnavailableError,
)
from infra.device.measuring.request import MOST_RUNS, MeasureSettings
from infra.device.shown import ShownFormatter, ShownParser
from infra.device.stores.object_store import ObjectStore, open_store

if TYPE_CHECKING:
    from infra.device.trust import Trust

EXIT_OK, EXIT_CONFIGURATION, EXIT_UNREACHABLE, EXIT_REJECTED = 0, 3, 4, 5
LONGEST_WAIT_S = 3600.0

_log = logging.getLogger("infra.device")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the agent and returns its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.ingest is None and options.store.startswith("s3://"):
        parser.error("--ingest is needed with a store at s3://, where devices write nothing themselves")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(ShownFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for name in ("botocore", "tuf"):  # they tell where each setting was found, and which signatures count
        logging.getLogger(name).setLevel(logging.WARNING)
    with ends_when_told(EXIT_OK):
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    runtimes = (RuntimeSettings(),)
    try:
        settings = MeasureSettings(warm_up=options.warm_up, repeats=options.repeats, threads=options.threads)
        store = open_store(options.store)
        reports = None if options.ingest is None else _ingest(options.ingest)
        check_runtimes(runtimes, options.target, Deadlines())
        with only_agent(options.work_folder):
            agent = Agent(
                _trust(store, options.root, options.work_folder / "trust"),
                device=options.device,
                work_folder=options.work_folder,
                settings=settings,
                reports=reports,
                runtimes=runtimes,
            )
            if options.once:
                return _run_round(agent, options.target)
            return _run_rounds(agent, options.target, options.interval_s)
    except (InfraError, OSError) as error:
        _log.error("%s: %s", type(error).__name__, error)
        return EXIT_CONFIGURATION


def _trust(store: ObjectStore, root: Path, folder: Path) -> Trust:
    """What the owner of the store signs, by the root metadata in a file."""
    try:
        from infra.device.trust import Trust
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{error}: install tuf and securesystemslib[crypto] with pip, on Python 3.9 tuf==5.1.0 and requests"
        ) from error
    return Trust(store, root.read_bytes(), folder)


def wait_s(interval_s: float, failures: int, jitter: float) -> float:
    """Seconds until the next round: the interval, doubled for each failure in a row up to an hour.

    Args:
        interval_s: between rounds that went well.
        failures: rounds in a row that did not.
        jitter: in [0, 1); after a failure takes off up to half of the wait, so that devices which failed together
            do not come back together.
    """
    if failures == 0:
        return interval_s
    longest_s = max(interval_s, LONGEST_WAIT_S)
    return min(longest_s, interval_s * 2.0 ** min(failures, 30)) * (1.0 - jitter / 2.0)


def _ingest(url: str) -> ReportTaker:
    from infra.device.agent.ingest import Ingest  # imports botocore, which a folder does without

    return Ingest(url)


def _run_round(agent: Agent, targets: Sequence[str]) -> int:
    """The exit code of one round."""
    try:
        outcomes = agent.run_once(targets)
    except StoreUnavailableError as error:
        _log.error("%s", error)
        return EXIT_UNREACHABLE
    except InfraError as error:
        _log.error("%s", error)
        return EXIT_CONFIGURATION
    except OSError as error:  # a worn card, a disk that is away
        _log.error("%s: %s", type(error).__name__, error)
        return EXIT_CONFIGURATION
    found = {outcome.status for outcome in outcomes}
    return EXIT_REJECTED if REJECTED in found else EXIT_CONFIGURATION if WAITING in found else EXIT_OK


def _run_rounds(agent: Agent, targets: Sequence[str], interval_s: float) -> int:
    failures = 0
    while True:
        try:
            failures = 0 if _run_round(agent, targets) == EXIT_OK else failures + 1
        except Exception:  # what nobody has thought of costs a round, and not the agent
            _log.exception("this round")
            failures += 1
        time.sleep(wait_s(interval_s, failures, random.random()))


def _parser() -> argparse.ArgumentParser:
    parser = ShownParser(prog="python -m infra.device", description="Measures released models here.")
    parser.add_argument("--target", action="append", required=True, type=_name, help="as cpu-fp32; may be repeated")
    parser.add_argument("--device", required=True, type=_name, help="name of this device in its reports")
    parser.add_argument("--store", required=True, help="s3://bucket[/prefix] or file:///folder")
    parser.add_argument("--root", required=True, type=Path, help="root.json of whoever signs this store's releases")
    parser.add_argument("--ingest", help="https://host[:port] that takes the reports; not needed with file:///folder")
    parser.add_argument("--work-folder", required=True, type=Path, help="for spool, downloads and memory of the agent")
    parser.add_argument("--once", action="store_true", help="one round instead of a loop")
    parser.add_argument("--interval-s", type=_positive_number, default=300.0, help="seconds between rounds")
    parser.add_argument("--warm-up", type=_count, default=MeasureSettings.warm_up, help="inferences not counted")
    parser.add_argument("--repeats", type=_positive_count, default=MeasureSettings.repeats, help="inferences counted")
    parser.add_argument(
        "--threads", type=_positive_count, default=None, help="inference threads, for targets on the CPU"
    )
    return parser


def _name(text: str) -> str:
    try:
        return check_name("name", text)
    except ContractError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > MOST_RUNS:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted a whole number up to {MOST_RUNS}")
    return int(text)


def _positive_count(text: str) -> int:
    if _count(text) == 0:
        raise argparse.ArgumentTypeError("got 0, wanted at least 1")
    return int(text)


def _positive_number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 1e6:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted a number of seconds above 0, at most 1000000")
    return number


if __name__ == "__main__":
    sys.exit(main())
