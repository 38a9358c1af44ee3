"""What devices say of a release on trial against the one that their target runs.

Times of devices play no part: a device whose clock is days off says as much as the others.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from infra.device.documents.checks import time_of
from infra.device.documents.latency_report import FAILED, WRONG
from infra.device.documents.trials import Trials
from infra.device.reports import counted_once
from infra.device.shown import shown
from infra.fleet.findings import ALIKE, FASTER, SLOWER
from infra.fleet.rows import Collected

_SAYS = {FAILED: "could not run it", WRONG: "computes something else"}
_MOST = 1000.0
"""No release is so many times as slow as another, nor as fast; whoever holds a device's key may say so."""
_SHOWN = 150
"""So many characters of what a device says are repeated."""


@dataclass(frozen=True)
class Ratio:
    """Latency of a release by that of the one that runs, with its interval of 95 %."""

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """SLOWER or FASTER where the interval leaves no other, else ALIKE."""
        return SLOWER if self.low > 1 else FASTER if self.high < 1 else ALIKE

    @property
    def words(self) -> str:
        """`0.81 times (0.79 to 0.83)`."""
        return f"{self.value:.2f} times ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class OnDevices:
    """What devices say of one release on trial.

    Attributes:
        ratio: the geometric mean over the devices that count; its ends are those of the devices' own intervals, as if
            all erred the same way. None: none counts.
        devices: that count.
        left_out: the others that have reported, each with the reason.
        objection: why there is no ratio; None where there is one.
    """

    ratio: Ratio | None
    devices: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    objection: str | None = None


@dataclass
class _Device:
    """What one device says, on all of its runtimes."""

    ratios: list[Ratio] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    nothing: list[str] = field(default_factory=list)

    @property
    def ratio(self) -> Ratio:
        return _joint(self.ratios)

    @property
    def verdict(self) -> str | None:
        """None where it says nothing that counts."""
        if self.failures:
            return FAILED
        return self.ratio.verdict if self.ratios else None

    @property
    def words(self) -> str:
        if self.verdict is None or self.failures:
            return "; ".join(self.failures or self.nothing)
        return f"{self.verdict}, {self.ratio.words}"


def on_devices(rows: Iterable[Collected], target: str, champion: str, challenger: str) -> OnDevices:
    """What devices say of a release against the one that their target runs.

    A device counts by its comparison in turns, else, where it could compare nothing, by two trustworthy reports of the
    same runtime. More than half of
    the devices that count must say the same: faster, slower, alike, or that the release does not run right. One that
    fails at the champion as well says nothing.

    Args:
        rows: of the devices that may count; of several on one question the one beside the champion counts.
        target: their target.
        champion: the release that it runs.
        challenger: the release on trial.
    """
    here = _that_count([row for row in rows if row.target == target], champion)
    before = {(row.device, row.runtime): row for row in here if row.release_id == champion}
    found: dict[str, _Device] = {}
    for row in sorted((row for row in here if row.release_id == challenger), key=lambda one: (one.device, one.runtime)):
        _take(found.setdefault(row.device, _Device()), row, before.get((row.device, row.runtime)), champion)
    says = {device: one.verdict for device, one in found.items() if one.verdict is not None}
    words = {device: f"{device}: {one.words}" for device, one in found.items()}
    if not says:
        objection = (
            f"no device says anything that counts: {'; '.join(words.values())}" if words else "no device reported"
        )
        return OnDevices(None, left_out=tuple(words.values()), objection=objection)
    most, count = Counter(says.values()).most_common(1)[0]
    if 2 * count <= len(says):
        told = "; ".join(words[device] for device in says)
        return OnDevices(None, left_out=tuple(words.values()), objection=f"devices disagree: {told}")
    devices = tuple(device for device, verdict in says.items() if verdict == most)
    left_out = tuple(words[device] for device in found if device not in devices)
    if most == FAILED:
        return OnDevices(None, devices, left_out, "; ".join(words[device] for device in devices))
    return OnDevices(_joint([found[device].ratio for device in devices]), devices, left_out)


def missing(
    rows: Iterable[Collected], trials: Trials, left_out: Collection[str], now: datetime, silent_after: timedelta
) -> Mapping[str, Sequence[str]] | None:
    """Devices that are awaited, with the releases on trial that each of them has yet to report on.

    Awaited is who has reported on the release that the target runs, and is not silent: has not let `silent_after` go by
    since the trials were published without a report on any of them.

    Args:
        rows: of all reports.
        trials: of the target.
        left_out: devices that are revoked or pinned.
        now: the time, by the clock of whoever published the trials.
        silent_after: so long a device may take.

    Returns:
        None: no device is awaited.
    """
    reported: dict[str, set[str]] = {}
    for row in rows:
        is_of_before = row.comparison is not None and row.comparison.release_id != trials.against
        if row.release_id in trials.release_ids and is_of_before:
            continue  # the device measures it again, beside what runs now
        if row.target == trials.target and row.device not in left_out:
            reported.setdefault(row.device, set()).add(row.release_id)
    is_early = now - time_of(trials.published_at) <= silent_after
    awaited = {
        device: [one for one in trials.release_ids if one not in releases]
        for device, releases in sorted(reported.items())
        if trials.against in releases and (is_early or not releases.isdisjoint(trials.release_ids))
    }
    return {device: releases for device, releases in awaited.items() if releases} if awaited else None


def _that_count(rows: Sequence[Collected], champion: str) -> list[Collected]:
    """Of the reports on one question the last that compared with the champion, else the one that counts everywhere."""
    beside = {
        (row.release_id, row.device, row.runtime): row
        for row in rows
        if row.comparison is not None and row.comparison.release_id == champion
    }
    return [beside.get((row.release_id, row.device, row.runtime), row) for row in counted_once(rows)]


def _take(device: _Device, row: Collected, before: Collected | None, champion: str) -> None:
    """Adds what a row says of the challenger."""
    if row.status in _SAYS:
        if before is not None and before.status in _SAYS:
            device.nothing.append(f"fails at release {champion} as well")
        else:
            device.failures.append(f"{_SAYS[row.status]}: {shown(row.reason)[:_SHOWN]}")
        return
    compared, ratio = row.comparison, None
    if compared is not None and compared.release_id == champion:
        ratio = Ratio(compared.ratio, compared.ratio_low, compared.ratio_high)
    elif compared is not None:  # of another trial: nights lie between the two reports, and whatever has changed in them
        device.nothing.append(f"has compared it with release {compared.release_id}, and not with the one that runs")
        return
    elif row.is_trustworthy and before is not None and before.is_trustworthy:
        ratio = _ratio(row, before)
    if ratio is None:
        doubts = (*row.doubts, *(() if before is None else before.doubts))
        told = shown(doubts[0])[:_SHOWN] if doubts else "it has not compared it with the release that runs"
        device.nothing.append(f"not to be trusted: {told}")
    elif ratio.low >= 1 / _MOST and ratio.high <= _MOST:
        device.ratios.append(ratio)
    else:
        device.nothing.append(f"not to be trusted: {ratio.low:.2g} to {ratio.high:.2g} times")


def _ratio(row: Collected, before: Collected) -> Ratio:
    """Of medians that were measured apart: the ends of the two intervals that are furthest from each other."""
    (p50, low, high), (p50_before, low_before, high_before) = _p50(row), _p50(before)
    return Ratio(p50 / p50_before, low / high_before, high / low_before)


def _p50(row: Collected) -> tuple[float, float, float]:
    """The median of a trustworthy report, and its interval."""
    assert row.p50_ms is not None
    assert row.p50_low is not None
    assert row.p50_high is not None
    return row.p50_ms, row.p50_low, row.p50_high


def _joint(ratios: Sequence[Ratio]) -> Ratio:
    """Geometric means."""

    def mean(ends: Iterable[float]) -> float:
        return math.exp(math.fsum(map(math.log, ends)) / len(ratios))

    return Ratio(mean(one.value for one in ratios), mean(one.low for one in ratios), mean(one.high for one in ratios))
