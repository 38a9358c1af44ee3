"""`modnet release …`, all but `show`: what devices may run, and what they do run."""

from __future__ import annotations

import json

from pydantic import ValidationError

from infra.device.stores.object_store import open_store
from infra.publishing import releases
from infra.publishing.repository import Publisher
from infra.settings import Settings
from modnet.configs import ExportConfig
from modnet.configs.release import spdx_expression
from modnet.errors import ConfigError
from tasks.cli.exit_codes import UsageError
from tasks.cli.flags import Options, Result
from tasks.signed import this_publisher
from tasks.tables import markdown_table


def list_releases(options: Options) -> Result:
    """Lists every release, the newest first, and which targets run it."""
    publisher = _publisher(options)
    found = sorted(releases.published(publisher), key=lambda one: one[1].created_at, reverse=True)
    running = {target: pointer.release_id for target, pointer in releases.pointers(publisher).items()}
    rows = [
        {
            "release": release_id,
            "made at": manifest.created_at,
            "network": manifest.network_id,
            "targets": ", ".join(sorted(manifest.targets)),
            "runs on": ", ".join(target for target, one in running.items() if one == release_id) or "none",
        }
        for release_id, manifest in found
    ]
    return {"releases": rows} if options.json else {"releases": len(rows), "table": markdown_table(rows)}


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
    pointers = [releases.promote(publisher, target, options.release_id) for target in targets]
    return {one.target: f"runs {one.release_id}, before {one.replaces or 'nothing'}" for one in pointers}


def roll_back_target(options: Options) -> Result:
    """Makes a target run what it ran before."""
    pointer = releases.roll_back(_publisher(options), options.target)
    return {options.target: f"runs {pointer.release_id} again, instead of {pointer.replaces}"}


def retire_release(options: Options) -> Result:
    """Removes a release that nothing needs."""
    releases.retire(_publisher(options), options.release_id)
    return {"retired": options.release_id}


def retain_releases(options: Options) -> Result:
    """Removes the oldest releases that nothing needs, and what killed publications left."""
    publisher = _publisher(options)
    return {"retired": releases.retain(publisher, options.last), "swept": releases.sweep(publisher)}


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
    return this_publisher(open_store(options.store or Settings.from_env().store_url))


def _export(text: str) -> ExportConfig:
    """The section `export` of what `modnet config --json` prints, or that section alone."""
    try:
        given = json.loads(text)
        given = given.get("config", given)
        return ExportConfig.model_validate(given.get("export", given))
    except (ValueError, AttributeError, ValidationError) as error:
        raise ConfigError(f"--export: wanted JSON with the section `export` of a run: {error}") from error
