"""`modnet release show`: what devices run, and what it says of itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from infra.device.documents.manifest import Manifest
from infra.device.documents.pointer import Pointer
from infra.device.errors import ContractError, DigestMismatchError, NotStoredError
from infra.device.releases import read_current, read_manifest
from infra.device.trust import Trust
from infra.publishing.rollouts import percent
from modnet.configs.release import spdx_expression
from modnet.errors import ConfigError
from modnet.export.bill_of_materials import FILE_NAME
from modnet.records import NetworkOrigin, Provenance
from tasks.cli.exit_codes import UsageError
from tasks.cli.flags import Options, Result
from tasks.signed import this_trust
from tasks.stored import prompt_store
from tasks.tables import markdown_table

_LISTED = 20
"""So many releases and targets does an error name."""


def show_release(options: Options) -> Result:
    """Shows what a release says of itself."""
    release_id, manifest, running = _read(options)
    if options.json:
        led_to = {target: one.release_id if isinstance(one, Pointer) else one for target, one in running.items()}
        return {"release": release_id, "running": led_to, "manifest": manifest.members()}
    try:
        lines, tables = _told(Provenance.model_validate(manifest.provenance))
    except ValidationError:  # of an earlier or a later version than this one
        lines, tables = {}, [[{"provenance": name, "value": value} for name, value in _flat(manifest.provenance)]]
    targets = [
        {
            "target": target,
            "IR": files.ir_xml if files.turned is None else f"{files.ir_xml}, {files.turned.ir_xml}",
            "input": f"{files.input_name} {'×'.join(map(str, files.input_shape))}",
            "weights": files.precision,
            "runs now": _runs_now(running[target], release_id),
        }
        for target, files in sorted(manifest.targets.items())
    ]
    scores = [{"score": name, "value": f"{value:.6g}"} for name, value in sorted(manifest.scores.items())]
    files = [
        {"file": path, "bytes": str(digest.size_bytes), "SHA-256": digest.sha256}
        for path, digest in sorted(manifest.files.items())
    ]
    return {
        "release": f"{release_id}, of {manifest.created_at}",
        "licence": _licence(manifest.licence),
        "network": f"{manifest.network_id}, {manifest.workload}",
        **lines,
        "software bill of materials": FILE_NAME if FILE_NAME in manifest.files else "not listed",
        "table": "\n\n".join(markdown_table(rows) for rows in [targets, scores, files, *tables] if rows),
    }


def _read(options: Options) -> tuple[str, Manifest, Mapping[str, Pointer | str | None]]:
    """All that is read of the store: a release's id, its manifest, and what each of its targets runs, see `_running`.

    Raises:
        UsageError: neither or both of id and target are given.
        ConfigError: there is no such release or target; names those that there are.
    """
    if (options.release_id is None) == (options.target is None):
        raise UsageError("wanted the id of a release, or --target, and not both")
    trust = this_trust(prompt_store(options.store))
    try:
        release_id = options.release_id or read_current(trust, options.target).release_id
        manifest = read_manifest(trust, release_id)
    except NotStoredError as error:
        asked = f"target {options.target}" if options.release_id is None else f"release {options.release_id}"
        found = "; ".join(f"{what}: {_listed(trust, what)}" for what in ("releases", "targets"))
        raise ConfigError(f"{asked}: not in {trust.store.url}, which has {found}") from error
    return release_id, manifest, {target: _running(trust, target) for target in manifest.targets}


def _listed(trust: Trust, kind: str) -> str:
    try:
        names = list(dict.fromkeys(path.split("/")[1] for path in trust.paths(f"{kind}/")))  # a target may have pins
    except NotStoredError:  # nothing was ever signed
        names = []
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return (", ".join(names[:_LISTED]) or "none") + more


def _running(trust: Trust, target: str) -> Pointer | str | None:
    """A target's pointer; what is wrong with it in words; None where nothing was promoted."""
    try:
        return read_current(trust, target)
    except NotStoredError:
        return None
    except (ContractError, DigestMismatchError) as error:
        return f"a damaged pointer: {error}"


def _runs_now(running: Pointer | str | None, release_id: str) -> str:
    if not isinstance(running, Pointer):
        return running or "nothing"
    if running.share == 1:
        return "this release" if running.release_id == release_id else running.release_id
    new, before = ("this release" if one == release_id else one for one in (running.release_id, running.replaces))
    return f"{new} on {percent(running.share)} of the devices, {before} on the others"


def _licence(licence: str | None) -> str:
    if licence is None:
        return "none is stated: ask its owner before you pass it on"
    try:
        return spdx_expression(licence)
    except ValueError:
        return f"{licence}, an unknown licence: it is not in https://spdx.org/licenses"


def _told(made: Provenance) -> tuple[Result, list[list[dict[str, str]]]]:
    """Where a release comes from, as lines and as tables."""
    data = made.dataset
    kind = "rendered by this project" if data.is_synthetic else "not rendered by this project"
    lines = {
        "size": f"{made.parameters:,} parameters, {made.macs:,} MACs",
        "reason": made.reason,
        "data": f"{data.source}, {kind}: {data.fit} images teach, {data.tune} choose, {data.val} only report",
        "data SHA-256": data.sha256,
        "base": _network(made.base),
        **({} if made.start is None else {"start": _network(made.start)}),
        **{
            f"step {number}": f"pruned to {step.pruning.label} and retrained with seed {step.seed}, which gave "
            f"{step.network_id} (SHA-256 {step.sha256}); plan SHA-256 {step.plan_sha256}"
            for number, step in enumerate(made.steps, 1)
        },
        "scores": f"means over val; images prepared as {made.scores_protocol}, for targets as "
        f"{made.target_scores_protocol}",
        "made by": ", ".join(f"{name} {version}" for name, version in made.versions.items()),
    }
    recipes = {"base": made.base.made, **({} if made.start is None else {"start": made.start.made})}
    for number, step in enumerate(made.steps, 1):
        recipes |= {f"step {number}": {"pruning": step.pruning.model_dump(mode="json"), "retrain": step.retrain}}
    recipes["export"] = made.export.model_dump(mode="json")
    return lines, [
        [{"refused": form, "reason": reason} for form, reason in made.refused.items()],
        [
            {"old runtime": check.by, "target": target, "status": check.status, "words": check.words}
            for target, checks in made.legacy.items()
            for check in checks
        ],
        [
            {"recipe of": of, "setting": name, "value": value}
            for of, one in recipes.items()
            for name, value in _flat(one)
        ],
    ]


def _network(network: NetworkOrigin) -> str:
    return f"{network.network_id}, {network.origin} (SHA-256 {network.sha256})"


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and values of nested settings: `augmentation.flip`, `0.5`."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from ((f"{name}.{inner}", text) for inner, text in _flat(value))
        else:
            yield name, value if isinstance(value, str) else json.dumps(value)
