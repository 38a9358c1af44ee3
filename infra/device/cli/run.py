"""`run` and `once`: the agent measures what is new, in rounds or one time."""

from __future__ import annotations

import logging
import random
import sys
import time
from typing import TYPE_CHECKING

from infra.device.agent.agent import WAITING, Agent, Outcome
from infra.device.agent.ending import ends_when_told
from infra.device.agent.lock import only_agent
from infra.device.agent.runtimes import check_runtimes
from infra.device.agent.seen import REJECTED
from infra.device.agent.settings import Deadlines
from infra.device.agent.spool import ReportTaker
from infra.device.cli.config import AgentConfig
from infra.device.cli.last_round import write_last_round
from infra.device.errors import InfraError, SettingsError, StoreUnavailableError
from infra.device.logs import log_formatter, process_fields
from infra.device.measuring.request import MeasureSettings
from infra.device.notify import ALIVE, READY, notify
from infra.device.shown import shown
from infra.device.stores.object_store import ObjectStore, open_store

if TYPE_CHECKING:
    from infra.device.trust import Trust

EXIT_OK, EXIT_CONFIGURATION, EXIT_UNREACHABLE, EXIT_REJECTED = 0, 3, 4, 5
LONGEST_WAIT_S = 3600.0
_ALIVE_EVERY_S = 30.0  # well below the unit's WatchdogSec

_log = logging.getLogger("infra.device")


def run(config: AgentConfig) -> int:
    """Rounds until SIGTERM or SIGINT; the exit code when they cannot begin."""
    return _with_agent(config, once=False)


def once(config: AgentConfig) -> int:
    """One round; its exit code."""
    return _with_agent(config, once=True)


def log_to_stderr() -> None:
    """Whatever happens, a line each, with control characters escaped; JSON where `MODNET_LOG` asks for it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(log_formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for name in ("botocore", "tuf"):  # they tell where each setting was found, and which signatures count
        logging.getLogger(name).setLevel(logging.WARNING)


def _with_agent(config: AgentConfig, *, once: bool) -> int:
    process_fields["device"] = config.device
    config.set_aws()
    with ends_when_told(EXIT_OK), only_agent(config.work_folder):
        agent = _agent(config)
        notify(READY)
        if once:
            return run_round(agent, config)
        failures = 0
        while True:
            try:
                waits = run_round(agent, config) in (EXIT_CONFIGURATION, EXIT_UNREACHABLE)
                failures = failures + 1 if waits else 0  # a rejected release is no reason to see the next one late
            except Exception:  # what nobody has thought of costs a round, and not the agent
                _log.exception("this round")
                failures += 1
            pause(wait_s(config.interval_s, failures, random.random()))


def _agent(config: AgentConfig) -> Agent:
    """The agent of these settings; the one place that makes one.

    Raises:
        SettingsError: something of this machine is not there, or a setting is wrong.
    """
    deadlines = Deadlines.of(config.load_s, config.inference_s, config.warm_up + config.repeats)
    check_runtimes(config.runtimes, config.targets, deadlines)
    return Agent(
        trust_of(config, open_store(config.store)),
        device=config.device,
        work_folder=config.work_folder,
        settings=MeasureSettings(warm_up=config.warm_up, repeats=config.repeats, threads=config.threads),
        reports=None if config.ingest is None else _ingest(config.ingest),
        runtimes=config.runtimes,
        deadlines=deadlines,
    )


def trust_of(config: AgentConfig, store: ObjectStore) -> Trust:
    """What the owner of the store signs, by the root metadata in a file.

    Raises:
        SettingsError: no root metadata, or what verifies signatures is not installed.
    """
    try:
        import cryptography  # noqa: F401 - without it securesystemslib would verify by a slow program of its own

        from infra.device.trust import Trust
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{error}: install cryptography with pip; without the agent's one file also tuf and "
            "securesystemslib[crypto], on Python 3.9 tuf==5.1.0 and requests"
        ) from error
    try:
        root = config.root.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"root {config.root}: cannot be read ({error.strerror}), wanted root.json of whoever signs the releases; "
            "copy it here, or enrol"
        ) from error
    return Trust(store, root, config.work_folder / "trust")


def run_round(agent: Agent, config: AgentConfig) -> int:
    """The exit code of one round, which `status` finds in the work folder; what it raises ends a loop."""
    outcomes: list[Outcome] = []
    error: Exception | None = None
    try:
        outcomes = agent.run_once(config.targets)
        found = {outcome.status for outcome in outcomes}
        code = EXIT_REJECTED if REJECTED in found else EXIT_CONFIGURATION if WAITING in found else EXIT_OK
    except StoreUnavailableError as unavailable:
        error, code = unavailable, EXIT_UNREACHABLE
        _log.error("%s", error)
    except InfraError as refused:
        error, code = refused, EXIT_CONFIGURATION
        _log.error("%s", error)
    except OSError as broken:  # a worn card, a disk that is away
        error, code = broken, EXIT_CONFIGURATION
        _log.error("%s: %s", type(error).__name__, error)
    write_last_round(config.work_folder, outcomes, error)
    said = error or "; ".join(f"{outcome.target} {outcome.status}" for outcome in outcomes)
    notify(ALIVE, f"STATUS={shown(said)[:200]}")
    return code


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


def pause(seconds: float) -> None:
    """Waits, and tells systemd meanwhile that the agent is alive."""
    ends_at = time.monotonic() + seconds
    while (left_s := ends_at - time.monotonic()) > 0:
        notify(ALIVE)
        time.sleep(min(left_s, _ALIVE_EVERY_S))


def _ingest(url: str) -> ReportTaker:
    from infra.device.agent.ingest import Ingest  # imports botocore, which a folder does without

    return Ingest(url)
