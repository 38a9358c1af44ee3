"""What of the store nothing needs any more, and how it goes.

What needs what:

    the last run pages, releases ──▶ candidate ──▶ what it was pruned from ──▶ … ──▶ base ──▶ data set
    scores, forms, exports, latencies, sheets, sensitivities ──▶ the networks that they are about, all of them
    report of a device, challenge ──▶ release

An object names what it needs in its text, by the 12 digits that are its name in the store. So texts are searched for
names, and a record of an earlier version, or a page of HTML, says as much as one of today.

What was written or asked for lately stays whatever it is: reading a record dates it anew (`tasks.stored.get_record`).
So a run that is under way finds what it has asked for, as long as it takes less than the days that are kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from infra.device.documents.manifest import Manifest
from infra.device.errors import NotStoredError
from infra.device.stores.object_store import ObjectStore
from infra.publishing.releases import published
from infra.publishing.repository import Publisher
from modnet.report.run_tables import Row
from tasks.configs.tidy import TidyConfig

_ID = "[0-9a-f]{12}"
_NAME = re.compile(rf"(?<![0-9a-f]){_ID}(?![0-9a-f])")
_OF_DIGEST = re.compile(rf".*-{_ID}\.[a-z]+")  # a file that a record names; another answer would have another
_UNFINISHED = re.compile(r".*/(training-state(-2)?\.pt|progress\.json)")
_TRAINING = r"training\.jsonl|training\.png|scales\.png|training-state(-2)?\.pt|progress\.json"
_NEVER = "(?!)"
# By kind: how a unit's keys begin, how its records end, and its other files; also those of earlier versions. What needs
# comes before what is needed, and goes first.
_LAYOUT = {
    kind: re.compile(f"(?P<unit>{kind}/{unit})((?P<record>{record})|{file})")
    for kind, (unit, record, file) in {
        "runs": (f"{_ID}/", r"report\.html", r"pareto\.png"),
        "reports": ("[^/]+/[^/]+/", r"[^/]+\.json", _NEVER),
        "sheets": (_ID, r"\.json", rf"-{_ID}\.png"),
        "mattes": (_ID, r"\.json", rf"-{_ID}\.png"),
        "latencies": (_ID, r"\.json", _NEVER),
        "challenges": (_ID, r"\.json", _NEVER),
        "scores": (_ID, r"\.json", _NEVER),
        "timed": (f"{_ID}/", r"forms\.json", r"[^/]+\.(xml|bin)"),
        "exports": (f"{_ID}/", r"export\.json", rf"[^/]+\.(xml|bin|onnx)|sbom\.cdx(-{_ID})?\.json"),
        "sensitivities": (
            f"{_ID}/",
            rf"(report|scores)-{_ID}\.json|groups/[^/]+\.json",
            rf"report-{_ID}-{_ID}\.png",
        ),
        "candidates": (
            f"{_ID}/",
            r"(candidate|retrained)\.json",
            rf"(pruned|retrained)(-{_ID})?\.safetensors|plan(-{_ID})?\.json|{_TRAINING}",
        ),
        "bases": (f"{_ID}/", r"base\.json", rf"base(-{_ID})?\.safetensors|{_TRAINING}"),
        "backbones": (f"(backbone-)?{_ID}", _NEVER, r"\.npz"),
        "datasets": (f"{_ID}/", r"dataset\.json", rf"archive(-{_ID})?\.zip"),
    }.items()
}
_NEEDED = ("candidates", "bases", "datasets")
_OF_NETWORKS = ("sheets", "mattes", "latencies", "scores", "timed", "exports", "sensitivities")
_OF_RELEASES = ("reports", "challenges")


@dataclass
class Unit:
    """What stays or goes together: records, and the files beside them."""

    kind: str
    prefix: str  # of its keys
    records: set[str] = field(default_factory=set)
    written: dict[str, datetime] = field(default_factory=dict)  # every key, and when it was last written

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
            if found["record"]:
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
    """
    store, keep_days = publisher.store, config.keep_days
    oldest = now - timedelta(days=keep_days)
    units = units_of(store.written(""))
    manifests = [manifest for _, manifest in published(publisher)]
    releases = {*store.folders("releases/"), *_names("".join(store.list("awaited/")))}
    why = _why_kept(store, units, manifests, releases, oldest, config)
    order = list(_LAYOUT)
    found: list[Fate] = []
    for unit in sorted(units.values(), key=lambda one: (order.index(one.kind), one.prefix)):
        if unit.prefix in why:
            old = {key for key, time in unit.written.items() if time < oldest}
            spoken_of = _text(store, unit) if any(map(_OF_DIGEST.fullmatch, old - unit.records)) else ""
            forgotten = {key for key in old - unit.records if _OF_DIGEST.fullmatch(key) and key not in spoken_of}
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
    """Removes what goes, of each unit its records first, and returns what went.

    Whoever is killed in between leaves units whole, or files without a record, which count as absent and go the next
    time. A unit that somebody has used since it was looked at stays, and so does what it needs.
    """
    gone, needed = [], set[str]()
    for fate in chosen:
        if fate.stays or needed & _names(fate.unit.prefix):
            continue
        unit = units_of(store.written(fate.unit.prefix)).get(fate.unit.prefix)
        if unit is None:
            continue
        if not unit.written.items() <= fate.unit.written.items():
            needed |= _names(_text(store, unit))
            continue
        for key in fate.keys:
            store.delete(key)
        gone.append(fate)
    return gone


def rows(store: ObjectStore, chosen: Iterable[Fate]) -> list[Row]:
    """The table of what stays and what goes: kind, how many objects, megabytes and why."""
    sizes, known = store.sizes(""), set[str]()
    sums: dict[tuple[str, str, str], list[int]] = {}
    for fate in chosen:
        known.update(fate.keys)
        sums.setdefault((fate.unit.kind, "stays" if fate.stays else "goes", fate.why), []).extend(
            sizes.get(key, 0) for key in fate.keys
        )
    for key in sizes.keys() - known:
        sums.setdefault((key.partition("/")[0], "stays", "not of what is tidied"), []).append(sizes[key])
    return [
        {"kind": kind, "objects": str(len(found)), "MB": f"{sum(found) / 1e6:.1f}", "fate": fate, "why": why}
        for (kind, fate, why), found in sorted(sums.items())
    ]


def freed(found: Iterable[Row]) -> str:
    """What goes by a table of `rows`, in one phrase."""
    going = [row for row in found if row["fate"] == "goes"]
    return f"{sum(int(row['objects']) for row in going)} objects, {sum(float(row['MB']) for row in going):.1f} MB"


def _why_kept(
    store: ObjectStore,
    units: Mapping[str, Unit],
    manifests: Iterable[Manifest],
    releases: set[str],
    oldest: datetime,
    config: TidyConfig,
) -> dict[str, str]:
    """Why a unit stays, by its prefix."""
    complete = {prefix: unit for prefix, unit in units.items() if unit.records}
    pages = sorted((one for one in complete.values() if one.kind == "runs"), key=lambda one: one.used, reverse=True)
    why = {one.prefix: f"one of the last {config.keep_runs} runs" for one in pages[: config.keep_runs]}
    why |= {prefix: f"used in the last {config.keep_days} days" for prefix, one in units.items() if one.used >= oldest}

    def need(text: str, reason: str) -> None:
        found = {f"{kind}/{name}/" for name in _names(text) for kind in _NEEDED} & complete.keys() - asked
        asked.update(found)
        for prefix in found:
            why.setdefault(prefix, reason)
        for prefix in found:
            need(_text(store, complete[prefix]), "something that stays needs it")

    asked: set[str] = set()
    for manifest in manifests:
        need(manifest.to_json().decode(), "a release was made of it")
    for prefix in list(why):
        needs = "a run that stays shows it" if units[prefix].kind == "runs" else "something that stays needs it"
        need(f"{prefix} {_text(store, units[prefix])}", needs)

    networks = {prefix.split("/")[1] for prefix in complete if prefix.startswith(_NEEDED[:2])}
    staying = {prefix.split("/")[1] for prefix in why if prefix.startswith(_NEEDED[:2])}
    for prefix, unit in complete.items():
        if prefix in why:
            continue
        if unit.kind in _OF_NETWORKS and (about := networks & _names(_text(store, unit))) and about <= staying:
            why[prefix] = "its networks stay"
        if unit.kind in _OF_RELEASES and releases & _names(f"{prefix} {_text(store, unit)}"):
            why[prefix] = "its release is in the store, or a report is awaited"
    return why


def _text(store: ObjectStore, unit: Unit) -> str:
    """What the records of a unit say; a report of a device needs no network, and is not read."""
    return "" if unit.kind == "reports" else "\n".join(_texts(store, unit.records))


def _texts(store: ObjectStore, keys: Iterable[str]) -> Iterator[str]:
    for key in sorted(keys):
        try:
            yield store.get(key).decode(errors="replace")
        except NotStoredError:  # somebody has removed it meanwhile
            yield ""


def _names(text: str) -> set[str]:
    return set(_NAME.findall(text))
