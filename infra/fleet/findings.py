"""What the rows of a fleet say together: who got slower, who rejected a release, who is silent."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median_low
from typing import TYPE_CHECKING

from infra.device.documents.checks import time_of
from infra.device.documents.latency_report import FAILED, MEASURED, WRONG
from infra.device.documents.pointer import Pointer, pointer_path
from infra.device.documents.trials import trials_path
from infra.device.errors import ContractError, DigestMismatchError, NotStoredError
from infra.device.releases import parse_pointer
from infra.fleet.rows import Collected

if TYPE_CHECKING:  # who reads rows alone needs no tuf
    from infra.device.trust import Trust

SLOWER, FASTER, ALIKE = "slower", "faster", "alike"
CLOCKS_DIFFER = timedelta(minutes=15)  # as the ingest allows


@dataclass(frozen=True)
class Running:
    """What devices run, as it is signed.

    Attributes:
        pointers: of each target.
        pins: of single devices, by target and device.
    """

    pointers: Mapping[str, Pointer]
    pins: Mapping[tuple[str, str], Pointer]

    def wanted(self, target: str, device: str) -> tuple[str, datetime] | None:
        """The release that a device runs for a target, and since when at the latest; None: the target runs none."""
        pointer = self.pins.get((target, device)) or self.pointers.get(target)
        if pointer is None:
            return None
        is_new = (target, device) in self.pins or pointer.is_for(device) or pointer.replaces is None
        return pointer.release_id if is_new else str(pointer.replaces), time_of(pointer.moved_at)


@dataclass(frozen=True)
class Silent:
    """A device that was to report and did not.

    Attributes:
        target: None: the device has a key, and never reported anything.
        release_id: that it should have measured; None as well.
        since: when it began to be awaited.
        last: the row of its newest report on the target; None as well.
    """

    device: str
    target: str | None
    release_id: str | None
    since: datetime
    last: Collected | None


def verdict(row: Collected, slower_by: float) -> str | None:
    """SLOWER or FASTER than the release before where the interval of the paired ratio leaves no other, else ALIKE.

    Args:
        row: of a report.
        slower_by: as a share, that no release may cost; a ratio surely above 1 + slower_by is SLOWER.

    Returns:
        None where nothing was compared.
    """
    if row.comparison is None:
        return None
    if row.comparison.ratio_low > 1 + slower_by:
        return SLOWER
    return FASTER if row.comparison.ratio_high < 1 else ALIKE


def rejected(rows: Iterable[Collected]) -> list[Collected]:
    """Reports of releases that failed or computed something else, newest first."""
    return sorted((row for row in rows if row.status in (FAILED, WRONG)), key=lambda one: one.started_at, reverse=True)


def doubted(rows: Iterable[Collected], now: datetime) -> list[tuple[Collected, tuple[str, ...]]]:
    """Measured rows with what speaks against them, newest first: their doubts, and a clock that is ahead of `now`."""
    found = []
    for row in rows:
        is_ahead = time_of(row.started_at) > now + CLOCKS_DIFFER
        doubts = (*row.doubts, *(["its clock is ahead of the collector's"] if is_ahead else []))
        if row.status == MEASURED and doubts:
            found.append((row, doubts))
    return sorted(found, key=lambda one: one[0].started_at, reverse=True)


def silent(
    rows: Sequence[Collected], running: Running, enrolled: Mapping[str, datetime], now: datetime, after: timedelta
) -> list[Silent]:
    """Devices that have not reported on the release that they are to run, longest first.

    Args:
        rows: all that count. Who reported on a target before is awaited there.
        running: what devices run.
        enrolled: devices that have a key, and since when; one that never reported is awaited as well.
        now: the time.
        after: so long a device may take.
    """
    last: dict[tuple[str, str], Collected] = {}
    for row in sorted(rows, key=lambda one: one.started_at):
        last[row.device, row.target] = row
    reported = {(row.device, row.target, row.release_id) for row in rows}
    found = []
    for (device, target), row in last.items():
        wanted = running.wanted(target, device)
        if wanted is not None and (device, target, wanted[0]) not in reported:
            found.append(Silent(device, target, wanted[0], wanted[1], row))
    known = {row.device for row in rows}
    found += [Silent(device, None, None, since, None) for device, since in enrolled.items() if device not in known]
    return sorted((one for one in found if now - one.since > after), key=lambda one: (one.since, one.device))


def releases_in_order(rows: Collection[Collected]) -> list[str]:
    """Releases by when devices measured them: the median over devices, so that one wrong clock turns nothing round."""
    times: dict[str, list[str]] = {}
    for row in rows:
        times.setdefault(row.release_id, []).append(row.started_at)
    return sorted(times, key=lambda release_id: (median_low(times[release_id]), release_id))


def read_running(trust: Trust) -> Running:
    """What devices run, as far as it can be read: a damaged pointer is left out.

    Raises:
        UntrustedError, NotStoredError, StoreUnavailableError, StoreRefusesError: as `Trust.refresh`.
    """
    pointers: dict[str, Pointer] = {}
    pins: dict[tuple[str, str], Pointer] = {}
    for path in trust.paths("targets/"):
        _, target, *rest = path.split("/")
        if path == trials_path(target):
            continue
        try:
            pointer = parse_pointer(trust.read(path, max_bytes=Pointer.max_bytes), target)
        except (NotStoredError, DigestMismatchError, ContractError):
            continue
        if path == pointer_path(target):
            pointers[target] = pointer
        elif rest[0] == "pins":
            pins[target, rest[-1][: -len(".json")]] = pointer
    return Running(pointers, pins)
