"""Writes `prefect.yaml` from the flows and their configs: `make deployments`.

Each flow is deployed as `stage` with the defaults of its function, and `compress` as `nightly` and as `on-demand`.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from pathlib import Path
from typing import Any

import yaml
from prefect import Flow
from pydantic.fields import FieldInfo

import flows
from infra.local_stack.nightly import MAY_BE_CUT
from infra.local_stack.services import COMPUTING, ONE_COMPUTES, WORK_POOL
from modnet.config import Config
from modnet.configs.form import may_be_empty
from modnet.configs.search import SearchConfig
from tasks.configs.compress import CompressConfig, Profile

FILE = Path(__file__).resolve().parents[1] / "prefect.yaml"

_HEAD = """\
# Deployments of every flow, written by `make deployments`; `make up` and `make nightly` apply them.
# Of a config that is given here, every field is: the run form hides the defaults of what is left out.
"""
_DAILY = {"schedules": [{"cron": "0 1 * * *", "timezone": "UTC", "active": True}]}
_AT_DAWN = {"schedules": [{"cron": "0 4 * * *", "timezone": "UTC", "active": True}]}
_NEVER_WAIT = {
    "benchmark",
    "collect",
    "decide",
    "history",
    "promote",
    "renew",
    "retain",
    "retire",
    "roll-back",
    "rollout",
    "sweep",
    "tidy",
}


def _every_ten_minutes(after: int) -> dict[str, Any]:
    """A schedule, so many minutes after each tenth one: processes that start in the same minute hinder each other."""
    cron = "*/10 * * * *" if not after else f"{after}-59/10 * * * *"
    return {"schedules": [{"cron": cron, "timezone": "UTC", "active": True}], "tags": [MAY_BE_CUT]}


_AT_NIGHT = {"schedules": [{"cron": "0 2 * * *", "timezone": "UTC", "active": True}], "tags": ["nightly"]}
_ONE_AT_A_TIME = {"concurrency_limit": {"limit": 1, "collision_strategy": "ENQUEUE"}}
_SCHEDULES: dict[str, dict[str, Any]] = {
    "renew": _DAILY,
    "tidy": _AT_DAWN,
    "rollout": _every_ten_minutes(3),
    "collect": _every_ten_minutes(0) | _ONE_AT_A_TIME,
    "decide": _every_ten_minutes(5) | _ONE_AT_A_TIME,
    "sweep": _every_ten_minutes(8),
}


def written() -> str:
    """What `prefect.yaml` holds."""
    deployments = [
        _compress("nightly", "standard", search=_form(SearchConfig)) | _AT_NIGHT,
        _compress("on-demand", "demo"),
        *(
            _deployment("stage", flow) | _SCHEDULES.get(flow.name, {})
            for flow in all_flows()
            if flow.name != "compress"
        ),
    ]
    apart = json.loads(json.dumps(deployments))  # YAML would write a part that several share as a reference
    document: str = yaml.safe_dump({"name": "modnet-edge", "deployments": apart}, sort_keys=False)
    return _HEAD + document


def all_flows() -> list[Flow[..., Any]]:
    """The flows of this folder: one a file."""
    modules = [importlib.import_module(f"flows.{found.name}") for found in pkgutil.iter_modules(flows.__path__)]
    return [
        found
        for module in modules
        for found in vars(module).values()
        if isinstance(found, Flow) and found.fn.__module__ == module.__name__
    ]


def _compress(name: str, profile: Profile, **changes: object) -> dict[str, Any]:
    """Sections that are null are filled in by the profile."""
    (flow,) = (found for found in all_flows() if found.name == "compress")
    return _deployment(name, flow) | {
        "parameters": {"config": _form(CompressConfig) | {"profile": profile, **changes}},
    }


def _deployment(name: str, flow: Flow[..., Any]) -> dict[str, Any]:
    path, function = flow.fn.__module__.replace(".", "/"), flow.fn.__name__
    deployment = {"name": name, "entrypoint": f"{path}.py:{function}", "work_pool": {"name": WORK_POOL}}
    if flow.name in _NEVER_WAIT:
        return deployment
    # A limit of the deployment instead would end a run that cannot reach Prefect's server for five minutes.
    queue = {"name": WORK_POOL, "work_queue_name": COMPUTING}
    return deployment | {"description": f"{inspect.getdoc(flow.fn)}\n\n{ONE_COMPUTES}", "work_pool": queue}


def _form(config: type[Config], given: Config | None = None) -> dict[str, Any]:
    """A config as the run form first shows it, sections that may be empty closed; by default with its defaults."""
    fields = config.model_fields.items()
    return {name: _shown(field, getattr(given, name, field.default)) for name, field in fields}


def _shown(field: FieldInfo, value: Any) -> Any:
    if field.json_schema_extra is may_be_empty:
        return None
    return _form(type(value), value) if isinstance(value, Config) else value


if __name__ == "__main__":
    FILE.write_text(written())
