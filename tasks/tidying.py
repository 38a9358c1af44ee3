"""What of the store nothing needs any more, and how it goes.

What needs what:

    the last run pages, releases ──▶ candidate ──▶ what it was pruned from ──▶ … ──▶ base ──▶ data set ◀── check
    scores, forms, exports, latencies, sheets, sensitivities ──▶ the networks that they are about, all of them
    report of a device, challenge ──▶ release

An object names what it needs in its text, by the 12 digits that are its name in the store. So texts are searched for
names, and a record of an earlier version, or a page of HTML, says as much as one of today.

What was written or asked for lately stays whatever it is: reading a record dates it anew (`tasks.stored.get_record`).
So a run that is under way finds what it has asked for, as long as it takes less than the days that are kept.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from infra.device.errors import ConflictError, NotStoredError
from infra.device.stores.object_store import ObjectStore
from infra.publishing.repository import Publisher
from infra.publishing.stops import DAMAGED
from modnet.report.run_tables import Row
from tasks.configs.tidy import TidyConfig

_ID = "[0-9a-f]{12}"
_NAME = re.compile(rf"(?<![0-9a-f]){_ID}(?![0-9a-f])")
_OF_DIGEST = re.compile(rf".*-({_ID})\.[a-z]+")  # a file that a record names; another answer would have another
_UNFINISHED = re.compile(r".*/(training-state(-2)?\.pt|progress\.json)")
_TRAINING = r"training\.jsonl|training\.png|scales\.png|training-state(-2)?\.pt|progress\.json"
_NEVER = "(?!)"
# By kind: how a unit's keys begin, how its records end, and its other files; also those of earlier versions. What needs
# comes before what is needed, and goes first.
_LAYOUT = {
    kind: re.compile(f"(?P<unit>{kind}/{unit})((?P<record>{record})|{file})")
    for kind, (unit, record, file) in {
        "runs": (f"{_ID}/", r"report\.html", r"pareto\.png|data\.html"),
        "reports": ("[^/]+/[^/]+/", r"[^/]+\.json", _NEVER),
        "quarantine": ("(reports|reasons)/.+", "", _NEVER),
        "sheets": (_ID, r"\.json", rf"-{_ID}\.png"),
        "mattes": (_ID, r"\.json", rf"-{_ID}\.png"),
        "latencies": (_ID, r"\.json", _NEVER),
        "challenges": (_ID, r"\.json", _NEVER),
        "scores": (_ID, r"\.json", _NEVER),
        "timed": (f"{_ID}/", r"(forms|figures)\.json", r"[^/]+\.(xml|bin)"),
        "exports": (f"{_ID}/", r"export\.json", rf"[^/]+\.(xml|bin|onnx|npz)|sbom\.cdx(-{_ID})?\.json"),
        "sensitivities": (
            f"{_ID}/",
            rf"(report|scores)-{_ID}\.json|groups/[^/]+\.json",
            rf"report-{_ID}-{_ID}\.png",
        ),
        "candidates": (
            f"{_ID}/",
            rf"(candidate|retrained|rung-\d+|timing-{_ID})\.json",
            rf"(pruned|retrained)(-{_ID})?\.safetensors|plan(-{_ID})?\.json|{_TRAINING}",
        ),
        "bases": (f"{_ID}/", r"base\.json", rf"base(-{_ID})?\.safetensors|{_TRAINING}"),
        "backbones": (f"(backbone-)?{_ID}", _NEVER, r"\.npz"),
        "checks": (_ID, r"\.json", rf"-{_ID}\.html"),
        "datasets": (f"{_ID}/", r"dataset\.json", rf"archive(-{_ID})?\.zip"),
    }.items()
}
_NEEDED = ("candidates", "bases", "datasets")
_NETWORKS = ("candidates/", "bases/")
_OF_NETWORKS = ("sheets", "mattes", "latencies", "scores", "timed", "exports", "sensitivities")
_OF_RELEASES = ("reports", "challenges")
_FROM_OUTSIDE = ("reports", "quarantine")  # what devices have sent needs no network, and is not read

LEFT_ALONE: Mapping[str, str] = {
    "releases": "`retire` and `retain` look after releases",
    "targets": "what devices run, and ran before",
    "stops": "a stopped rollout stays stopped",
    "decisions": "what became of each target, and why; small",
    "tuf": "what is signed; `renew` removes what is far behind",
    "publishing": "a publication is under way, or `renew` removes what it has left",
    "awaited": "reports are awaited, or `renew` removes the mark",
    "nights": "what later nights and the page of the history learn from; small",
    "trials": "what a search learns from, also when a candidate is gone; small",
    "history": "one page, written over",
    "fleet": "made anew in place from the reports",
    "searches": "from what happened in a search it goes on",
    "stack": "one object, written over",
    "tidy": "one object, which says when tidying was announced",
}
"""Why nothing of these kinds is tidied away. Where nothing is said of a kind, nothing of it is either."""


@dataclass
class Unit:
    """What stays or goes together: records, and the files beside them."""

    kind: str
    prefix: str  # of its keys
    records: set[str] = field(default_factory=set)
    written: dict[str, datetime] = field(default_factory=dict)  # every key, and when it was last written
    names: Set[str] = frozenset()  # what its records name: units by their ids, files by the digests in their keys
    is_whole: bool = True  # its records are JSON to their end

    @property
    def used(self) -> datetime:
        """When something of it was last written or asked for."""
        return max(self.written.values())


@dataclass(frozen=True)
class Fate:
    """What becomes of objects of one unit, and why."""

    unit: Unit
    keys: tuple[str, ...]
    stays: bool
    why: str


def units_of(written: Mapping[str, datetime]) -> dict[str, Unit]:
    """Objects that this project makes for itself, by the prefix of their unit; what is none of these is left out."""
    units: dict[str, Unit] = {}
    for key, time in written.items():
        kind = key.partition("/")[0]
        if kind in _LAYOUT and (found := _LAYOUT[kind].fullmatch(key)):
            unit = units.setdefault(found["unit"], Unit(kind, found["unit"]))
            unit.written[key] = time
            if found["record"] is not None:
                unit.records.add(key)
    return units


def fates(publisher: Publisher, now: datetime, config: TidyConfig) -> list[Fate]:
    """What becomes of each unit of a store, those first that need others.

    Args:
        publisher: of the store.
        now: the time; the store's clock cannot be far from it, as S3 refuses requests of another hour.
        config: what stays.

    Raises:
        UntrustedError, SettingsError: nobody can say what is released.
        ConflictError: a release is damaged, so that nobody can say what it needs.
    """
    store, keep_days = publisher.store, config.keep_days
    oldest = now - timedelta(days=keep_days)
    written = store.written("")
    units = units_of(written)
    for unit in units.values():
        _read(store, unit)
    why = _why_kept(units, _named_by_releases(publisher, written), _releases(written), oldest, config)
    found: list[Fate] = []
    for unit in _needing_first(units):
        if unit.prefix in why:
            old = {key for key, time in unit.written.items() if time < oldest}
            forgotten = {key for key in old - unit.records if _is_forgotten(key, unit)}
            unfinished = {key for key in old if _UNFINISHED.fullmatch(key)}
            kept = unit.written.keys() - forgotten - unfinished
            found.append(Fate(unit, tuple(sorted(kept)), True, why[unit.prefix]))
            for keys, reason in (
                (forgotten, f"no record names it, and it is older than {keep_days} days"),
                (unfinished, f"nobody went on with this training for {keep_days} days"),
            ):
                if keys:
                    found.append(Fate(unit, tuple(sorted(keys)), False, reason))
        else:
            nothing = "nothing that is kept needs it" if unit.records else "no record names it"
            whole = (*sorted(unit.records), *sorted(unit.written.keys() - unit.records))
            found.append(Fate(unit, whole, False, f"{nothing}, and it is older than {keep_days} days"))
    return found


def remove(store: ObjectStore, chosen: Iterable[Fate]) -> list[Fate]:
    """Removes what goes, of each unit its records first, and returns what became of each.

    Whoever is killed in between leaves units whole, or files without a record, which count as absent and go the next
    time. A unit that somebody has used since it was looked at stays, and so does all that it needs.
    """
    became, needed = [], set[str]()
    for fate in chosen:
        unit = None if fate.stays else units_of(store.written(fate.unit.prefix)).get(fate.unit.prefix)
        if unit is not None:
            is_used = not unit.written.items() <= fate.unit.written.items()
            if is_used or needed & _names(fate.unit.prefix):
                _read(store, unit)
                needed |= unit.names
                fate = replace(fate, stays=True, why="somebody has asked for it, or for what needs it, a moment ago")
            else:
                for key in fate.keys:
                    if key in unit.written:
                        store.delete(key)
        became.append(fate)
    return became


def rows(sizes: Mapping[str, int], chosen: Iterable[Fate]) -> list[Row]:
    """The table of what stays and what goes: kind, how many objects, megabytes and why.

    Args:
        sizes: bytes of every object of the store, by key.
        chosen: what becomes of those that are tidied.
    """
    known = set[str]()
    sums: dict[tuple[str, str, str], list[int]] = {}
    for fate in chosen:
        known.update(fate.keys)
        sums.setdefault((fate.unit.kind, "stays" if fate.stays else "goes", fate.why), []).extend(
            sizes.get(key, 0) for key in fate.keys
        )
    for key in sizes.keys() - known:
        kind = key.partition("/")[0]
        sums.setdefault((kind, "stays", LEFT_ALONE.get(kind, "not of what is tidied")), []).append(sizes[key])
    return [
        {"kind": kind, "objects": str(len(found)), "MB": f"{sum(found) / 1e6:.1f}", "fate": fate, "why": why}
        for (kind, fate, why), found in sorted(sums.items())
    ]


def freed(found: Iterable[Row]) -> str:
    """What goes by a table of `rows`, in one phrase."""
    going = [row for row in found if row["fate"] == "goes"]
    return f"{sum(int(row['objects']) for row in going)} objects, {sum(float(row['MB']) for row in going):.1f} MB"


def _why_kept(
    units: Mapping[str, Unit], named: Set[str], releases: Set[str], oldest: datetime, config: TidyConfig
) -> dict[str, str]:
    """Why a unit stays, by its prefix.

    Args:
        units: all of the store.
        named: what releases name.
        releases: those that are in the store, or on which reports are awaited.
        oldest: what was used since then stays.
        config: what stays.
    """
    complete = {prefix: unit for prefix, unit in units.items() if unit.records}
    pages = sorted((one for one in complete.values() if one.kind == "runs"), key=lambda one: one.used, reverse=True)
    why = {one.prefix: f"one of the last {config.keep_runs} runs" for one in pages[: config.keep_runs]}
    why |= {prefix: f"used in the last {config.keep_days} days" for prefix, one in units.items() if one.used >= oldest}
    for prefix in _needed(complete, named):
        why.setdefault(prefix, "a release was made of it")
    looked_at = deque(why)
    while looked_at:
        unit = units[looked_at.popleft()]
        for prefix in _needed(complete, unit.names) - why.keys():
            why[prefix] = "a run that stays shows it" if unit.kind == "runs" else "something that stays needs it"
            looked_at.append(prefix)

    networks, staying = ({key.split("/")[1] for key in found if key.startswith(_NETWORKS)} for found in (complete, why))
    for prefix, unit in complete.items():
        if prefix in why:
            continue
        if unit.kind in _OF_NETWORKS and (about := networks & unit.names) and about <= staying:
            why[prefix] = "its networks stay"
        if unit.kind == "checks" and any(f"datasets/{name}/" in why for name in unit.names):
            why[prefix] = "its data set stays"
        if unit.kind in _OF_RELEASES and releases & (unit.names | _names(prefix)):
            why[prefix] = "its release is in the store, or a report is awaited"
    return why


def _needing_first(units: Mapping[str, Unit]) -> list[Unit]:
    """Each unit before those that it names: a kill in between leaves nothing without what it needs."""
    done: dict[str, Unit] = {}
    begun = set[str]()

    def finish(unit: Unit) -> None:
        if unit.prefix not in begun:
            begun.add(unit.prefix)
            for prefix in sorted(_needed(units, unit.names)):
                finish(units[prefix])
            done[unit.prefix] = unit

    order = list(_LAYOUT)
    for unit in sorted(units.values(), key=lambda one: (order.index(one.kind), one.prefix), reverse=True):
        finish(unit)
    return list(done.values())[::-1]


def _needed(units: Mapping[str, Unit], names: Set[str]) -> Set[str]:
    """The units of networks and data sets that are named, by their prefixes."""
    return {f"{kind}/{name}/" for name in names for kind in _NEEDED} & units.keys()


def _is_forgotten(key: str, unit: Unit) -> bool:
    """Whether no record names a file; of a unit with a damaged record nobody can say so."""
    found = _OF_DIGEST.fullmatch(key)
    return unit.is_whole and found is not None and found[1] not in unit.names


def _releases(written: Iterable[str]) -> Set[str]:
    return {name for key in written if key.startswith(("releases/", "awaited/")) for name in _names(key.split("/")[1])}


def _named_by_releases(publisher: Publisher, written: Iterable[str]) -> Set[str]:
    """What the manifests name: all that are signed, and those that 0.1.0 published unsigned."""
    publisher.refresh()
    store, found = publisher.store, set[str]()
    for path, signed in publisher.targets().targets.items():
        if path.startswith("releases/"):
            try:
                found |= _names(publisher.content(signed).decode())
            except DAMAGED as error:
                raise ConflictError(
                    f"{path} is damaged, so nobody can say which network it needs: retire that release: {error}"
                ) from error
    for key in written:
        if key.startswith("releases/") and key.endswith("manifest.json"):
            found |= _names(_text(store, key))
    return found


def _read(store: ObjectStore, unit: Unit) -> None:
    """Finds what the records of a unit name."""
    if unit.kind not in _FROM_OUTSIDE:
        texts = [_text(store, key) for key in sorted(unit.records)]
        unit.names = _names("\n".join(texts))
        unit.is_whole = all(map(_is_json, texts))


def _text(store: ObjectStore, key: str) -> str:
    try:
        return store.get(key).decode(errors="replace")
    except NotStoredError:  # somebody has removed it meanwhile
        return ""


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _names(text: str) -> set[str]:
    return set(_NAME.findall(text))
