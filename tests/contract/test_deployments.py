"""prefect.yaml deploys every flow; what it does not say is what the flows and configs say."""

from __future__ import annotations

import asyncio
import importlib
import inspect
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from prefect import Flow
from prefect.exceptions import ParameterTypeError
from prefect.server.schemas.schedules import CronSchedule
from prefect.utilities.callables import parameter_schema
from pydantic import TypeAdapter

import modnet.configs
from flows.deployments import FILE, written
from infra.local_stack.automations import COLLECT, DECIDE
from infra.local_stack.nightly import MAY_BE_CUT
from infra.local_stack.services import COMPUTING, ONE_COMPUTES
from modnet.config import Config
from modnet.configs.search import SearchConfig
from modnet.workloads.matting import settings
from tasks.configs import baseline, compress, sections
from tasks.configs.compress import CompressConfig

PROJECT = Path(__file__).resolve().parents[2]
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]


def flow_of(deployment: dict[str, Any]) -> Flow:
    path, _, name = deployment["entrypoint"].partition(":")
    return getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda one: f"{one['entrypoint']}-{one['name']}")
def test_deployment_names_a_flow_and_parameters_that_it_takes(deployment: dict[str, Any]) -> None:
    flow = flow_of(deployment)
    assert isinstance(flow, Flow)
    signature = inspect.signature(flow.fn)
    given = deployment.get("parameters", {})
    assert set(given) <= set(signature.parameters)
    # What stays to be filled in by hand are the ids of earlier results, and the target to roll back.
    missing = {
        name for name, p in signature.parameters.items() if name not in given and p.default is inspect.Parameter.empty
    }
    assert missing <= {"dataset_id", "base_id", "candidate_ids", "network_id", "network_ids", "release_id", "target"}
    for name, value in given.items():
        annotation = inspect.get_annotations(flow.fn, eval_str=True)[name]
        if hasattr(annotation, "model_validate"):
            config = annotation.model_validate(value)
            assert_in_full(value, config.model_dump(mode="json"), name)


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda one: f"{one['entrypoint']}-{one['name']}")
def test_run_form_begins_with_the_defaults_of_the_flow(deployment: dict[str, Any]) -> None:
    """What a deployment leaves out, the form takes from the schema that Prefect makes of the flow, in full."""
    flow = flow_of(deployment)
    schema = parameter_schema(flow).properties
    for name, parameter in inspect.signature(flow.fn).parameters.items():
        if parameter.default is not inspect.Parameter.empty:
            assert schema[name]["default"] == TypeAdapter(Any).dump_python(parameter.default, mode="json"), name


def assert_in_full(given: object, whole: object, where: str) -> None:
    """Every field is named, and holds what the config makes of it or null, which the config fills in."""
    if isinstance(given, dict) and isinstance(whole, dict):
        assert set(given) == set(whole), f"{where} is not written in full"
        for name in given:
            assert_in_full(given[name], whole[name], f"{where}.{name}")
    elif given is not None:
        assert given == whole, where


def test_file_is_what_make_deployments_writes() -> None:
    assert FILE == PROJECT / "prefect.yaml"
    assert FILE.read_text() == written(), "prefect.yaml is older than the flows and configs: run `make deployments`"


def test_every_flow_is_deployed() -> None:
    deployed = {flow_of(deployment).name for deployment in DEPLOYMENTS}
    files = {path.stem for path in (PROJECT / "flows").glob("*.py")} - {"__init__", "deployments"}
    assert deployed == {name.replace("_", "-") for name in files}


def test_nightly_runs_at_two_with_the_standard_profile() -> None:
    nightly = next(one for one in DEPLOYMENTS if one["name"] == "nightly")
    assert flow_of(nightly).name == "compress"
    assert nightly["schedules"][0]["cron"] == "0 2 * * *"
    assert nightly["schedules"][0]["timezone"]
    assert CompressConfig.model_validate(nightly["parameters"]["config"]) == CompressConfig(search=SearchConfig())


def test_flows_that_compute_wait_for_each_other_and_no_others_do() -> None:
    """A new flow computes unless `flows/deployments.py` says otherwise."""
    queues = {flow_of(one).name: one["work_pool"].get("work_queue_name", "default") for one in DEPLOYMENTS}
    never = {
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
    assert queues == {name: "default" if name in never else COMPUTING for name in queues}
    assert never < set(queues)
    for one in DEPLOYMENTS:
        if flow_of(one).name not in never:
            assert one["description"].endswith(ONE_COMPUTES)
            # By a limit of its deployment, a run whose lease ends while the server is away is ended by Prefect.
            assert "concurrency_limit" not in one


def test_rollouts_are_looked_after_every_ten_minutes_by_runs_that_may_be_cut() -> None:
    found = next(one for one in DEPLOYMENTS if flow_of(one).name == "rollout")
    assert found["schedules"] == [{"cron": "3-59/10 * * * *", "timezone": "UTC", "active": True}]
    assert found["tags"] == [MAY_BE_CUT]


def test_sweeps_run_every_ten_minutes_and_may_be_cut() -> None:
    found = next(one for one in DEPLOYMENTS if flow_of(one).name == "sweep")
    assert found["schedules"] == [{"cron": "8-59/10 * * * *", "timezone": "UTC", "active": True}]
    assert found["tags"] == [MAY_BE_CUT]
    assert "concurrency_limit" not in found  # a sweep that was killed must not hold up the next one


def test_what_runs_every_ten_minutes_starts_in_minutes_of_its_own() -> None:
    crons = [one["schedules"][0]["cron"] for one in DEPLOYMENTS if MAY_BE_CUT in one.get("tags", ())]
    assert len(set(crons)) == len(crons) == 4


def test_on_demand_runs_what_make_nightly_runs_by_default() -> None:
    on_demand = next(one for one in DEPLOYMENTS if one["name"] == "on-demand")
    assert flow_of(on_demand).name == "compress"
    assert CompressConfig.model_validate(on_demand["parameters"]["config"]) == CompressConfig(profile="demo")


@pytest.mark.parametrize("seed", [-1, 2**31])
@pytest.mark.parametrize("name", ["prune", "iterate", "train-baseline"])
def test_run_form_of_a_stage_refuses_seeds_that_random_generators_do_not_take(name: str, seed: int) -> None:
    flow = next(flow_of(one) for one in DEPLOYMENTS if flow_of(one).name == name)
    ids = {"dataset_id": "d", "base_id": "b"}
    given = {one: value for one, value in ids.items() if one in inspect.signature(flow.fn).parameters}
    assert flow.validate_parameters(given)["seed"] == 0
    with pytest.raises(ParameterTypeError, match="seed"):
        flow.validate_parameters(given | {"seed": seed})


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda one: f"{one['entrypoint']}-{one['name']}")
def test_deployment_that_has_a_base_starts_from_the_shipped_one(deployment: dict[str, Any]) -> None:
    flow, ids = flow_of(deployment), {"dataset_id": "d", "base_id": "b", "network_id": "n", "release_id": "r"}
    ids |= {"candidate_ids": ["c"], "network_ids": ["n"], "target": "cpu-int8"}
    needed = {name: value for name, value in ids.items() if name in inspect.signature(flow.fn).parameters}
    config = flow.validate_parameters(deployment.get("parameters", {}) | needed).get("config")
    base = getattr(config, "base", config)
    assert getattr(base, "checkpoint", "shipped") == "shipped"


def test_every_flow_explains_itself_in_the_user_interface() -> None:
    for deployment in DEPLOYMENTS:
        assert len(flow_of(deployment).fn.__doc__) > 80, deployment["entrypoint"]


@pytest.mark.parametrize(
    "module", [modnet.configs, baseline, compress, sections, settings], ids=lambda one: one.__name__
)
def test_every_config_field_has_a_description(module: ModuleType) -> None:
    for name, config in vars(module).items():
        if inspect.isclass(config) and issubclass(config, Config):
            for field, info in config.model_fields.items():
                is_nested = hasattr(info.annotation, "model_fields")
                assert is_nested or info.description, f"{name}.{field}"


def shown_fields(schema: dict[str, Any], definitions: dict[str, Any], value: object, where: str = "") -> list[str]:
    """The fields that a run form shows for a value: those of sections that are null stay closed."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].removeprefix("#/definitions/").removeprefix("#/$defs/")]
    if "properties" not in schema:
        return [where]
    given = value if isinstance(value, dict) else {}
    return [
        field
        for name, inner in schema["properties"].items()
        for field in shown_fields(inner, definitions, given.get(name), f"{where}.{name}".strip("."))
    ]


@pytest.mark.parametrize("name", ["nightly", "on-demand"])
def test_run_form_shows_few_fields_and_first_those_that_people_change(name: str) -> None:
    value = next(one for one in DEPLOYMENTS if one["name"] == name)["parameters"]["config"]
    schema = CompressConfig.model_json_schema()
    shown = shown_fields(schema, schema["$defs"], value)
    assert len(shown) <= 23
    changed = ["profile", "dataset.source", "base.checkpoint", "pruning", "winner_limits.max_error_ratio", "epochs"]
    assert [field for field in shown if field in changed] == changed
    assert set(shown[: shown.index("epochs") + 1]) - set(changed) <= {
        *("dataset.sha256", "dataset.synthetic", "dataset.workload", "base.backbone", "base.training", "search"),
        *("winner_limits.max_parameters", "winner_limits.max_macs"),
    }
    flow = flow_of(next(one for one in DEPLOYMENTS if one["name"] == name))
    assert flow.validate_parameters({"config": value})["config"] == CompressConfig.model_validate(value)


@pytest.mark.parametrize("wanted", [COLLECT, DECIDE], ids=lambda one: one[0])
def test_what_follows_reports_runs_every_ten_minutes_one_run_at_a_time(wanted: tuple[str, str]) -> None:
    (one,) = (deployment for deployment in DEPLOYMENTS if flow_of(deployment).name == wanted[0])
    assert (flow_of(one).name, one["name"]) == wanted  # whose runs the ingest's events start
    assert [schedule["cron"] for schedule in one["schedules"]] in (["*/10 * * * *"], ["5-59/10 * * * *"])
    assert one["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
    assert one["tags"] == [MAY_BE_CUT]


@pytest.mark.parametrize("day", [datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)], ids=str)
def test_a_night_runs_once_a_day_where_summer_time_begins_or_ends(day: datetime) -> None:
    """At two, which Berlin skips on one day of the year and has twice on another."""
    nightly = next(one for one in DEPLOYMENTS if one["name"] == "nightly")
    schedule = CronSchedule(cron=nightly["schedules"][0]["cron"], timezone="Europe/Berlin")
    starts = asyncio.run(schedule.get_dates(n=5, start=day - timedelta(days=2)))
    days = [one.astimezone(ZoneInfo("Europe/Berlin")).date() for one in starts]
    assert days == [(day + timedelta(days=number)).date() for number in (-2, -1, 0, 1, 2)]
