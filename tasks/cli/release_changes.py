"""`modnet release …`, all but `show`: what devices may run, and what they do run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from pydantic import ValidationError

from infra.device.documents.pointer import Pointer
from infra.publishing import releases, retiring, roll_backs
from infra.publishing.repository import Publisher
from infra.publishing.rollouts import RolloutRow, percent, rollout_rows
from modnet.configs import ExportConfig
from modnet.configs.release import spdx_expression
from modnet.errors import ConfigError
from tasks.cli.exit_codes import UsageError
from tasks.cli.flags import Options, Result
from tasks.decisions import record_promotion, record_roll_back
from tasks.signed import this_publisher, this_trust
from tasks.stored import prompt_store
from tasks.tables import markdown_table


def list_releases(options: Options) -> Result:
    """Lists every release, the newest first, which targets run it on how many devices, and who is pinned to it."""
    publisher = _publisher(options)
    found = sorted(releases.published(publisher), key=lambda one: one[1].created_at, reverse=True)
    targets = rollout_rows(this_trust(publisher.store)) if found else []
    rows = [
        {
            "release": release_id,
            "made at": manifest.created_at,
            "network": manifest.network_id,
            "targets": ", ".join(sorted(manifest.targets)),
            "runs on": ", ".join(_runs_on(release_id, targets)) or "none",
        }
        for release_id, manifest in found
    ]
    if options.json:
        return {"releases": rows, "targets": [asdict(one) for one in targets]}
    told = [
        {
            "target": one.target,
            "release": one.release_id or "none",
            "since": one.since or "",
            "before": one.former or "none",
            "state": one.state,
            "pinned": ", ".join(f"{device} to {release_id}" for device, release_id in one.pins.items()) or "none",
        }
        for one in targets
    ]
    tables = "\n\n".join(markdown_table(table) for table in (rows, told) if table)
    return {"releases": len(rows), "table": tables or markdown_table([])}


def _runs_on(release_id: str, targets: Sequence[RolloutRow]) -> Iterator[str]:
    """The targets that run a release, with the share where it is not all, and the devices that are pinned to it."""
    for row in targets:
        if row.release_id == release_id:
            yield row.target if row.share == 1 else f"{row.target} ({percent(row.share)})"
        elif row.share < 1 and row.former == release_id:
            yield f"{row.target} ({percent(1 - row.share)})"
        yield from (f"{device} ({row.target})" for device, pinned in row.pins.items() if pinned == release_id)


def publish_release(options: Options) -> Result:
    """Publishes an exported network; no target runs it yet."""
    from tasks.published import publish_network  # reads networks; the other verbs need none of that

    licence = options.licence
    try:
        licence = None if licence is None else spdx_expression(licence)
        config = ExportConfig() if options.export is None else _export(options.export.read_text())
    except ValueError as error:
        raise UsageError(str(error)) from error
    publisher = _publisher(options)
    release_id, stated = publish_network(publisher, options.network_id, config, options.reason, licence)
    return {"release": release_id, "licence": stated or "none is stated"}


def promote_release(options: Options) -> Result:
    """Makes targets run a release."""
    publisher = _publisher(options)
    targets = options.targets or sorted(releases.manifest_of(publisher, options.release_id).targets)
    told: dict[str, object] = {}
    for target in targets:
        pointer = releases.promote(publisher, target, options.release_id, share=options.share, is_forced=options.force)
        record_promotion(publisher.store, pointer)
        told[target] = _promoted(pointer)
    return told


def _promoted(pointer: Pointer) -> str:
    if pointer.share == 1:
        return f"runs {pointer.release_id}, before {pointer.replaces or 'nothing'}"
    return f"{percent(pointer.share)} of its devices run {pointer.release_id}, the others {pointer.replaces}"


def roll_back_target(options: Options) -> Result:
    """Makes a target run what it ran before."""
    publisher = _publisher(options)
    current, before = roll_backs.before_of(publisher, options.target)
    roll_backs.go_back(publisher, options.target, current, before)
    record_roll_back(publisher.store, options.target, current, before)
    return {options.target: f"runs {before} again, instead of {current}"}


def retire_release(options: Options) -> Result:
    """Removes a release that nothing needs."""
    retiring.retire(_publisher(options), options.release_id)
    return {"retired": options.release_id}


def retain_releases(options: Options) -> Result:
    """Removes the oldest releases that nothing needs, and what killed publications left."""
    publisher = _publisher(options)
    return {"retired": retiring.retain(publisher, options.last), "swept": retiring.sweep(publisher)}


def renew_signatures(options: Options) -> Result:
    """Signs what is released anew."""
    publisher = _publisher(options)
    if options.rebuild:
        publisher.rebuild()
    publisher.renew()
    return {"counts until": str(publisher.timestamp().expires)}


def import_release(options: Options) -> Result:
    """Signs a release that was published before releases were signed."""
    return {"release": releases.import_release(_publisher(options), options.release_id)}


def _publisher(options: Options) -> Publisher:
    return this_publisher(prompt_store(options.store))


def _export(text: str) -> ExportConfig:
    """The section `export` of what `modnet config --json` prints, or that section alone."""
    try:
        given = json.loads(text)
        given = given.get("config", given)
        return ExportConfig.model_validate(given.get("export", given))
    except (ValueError, AttributeError, ValidationError) as error:
        raise ConfigError(f"--export: wanted JSON with the section `export` of a run: {error}") from error
