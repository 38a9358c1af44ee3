from __future__ import annotations

import os
from pathlib import Path
from urllib.request import getproxies, proxy_bypass

import pytest

from infra.ingest.devices import Device
from infra.local_stack.environments import device_environ, ingest_environ, pipeline_environ, store_environ
from infra.local_stack.state import StackState

FOREIGN = {
    "PATH": "/bin",
    "HOME": "/home/someone",
    "AWS_PROFILE": "work",
    "AWS_SESSION_TOKEN": "token",
    "AWS_ENDPOINT_URL_S3": "https://elsewhere",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    "PREFECT_API_URL": "https://elsewhere/api",
    "PREFECT_CLIENT_METRICS_ENABLED": "true",  # a port of the worker, for everybody
    "MODNET_STORE": "s3://elsewhere",
    "MODNET_WEBHOOK_URL": "https://hooks.example.org/secret",  # Prefect's server has it, and no process of ours
    "RAY_ADDRESS": "elsewhere:6379",
    "EDITOR": "ed",
}
OF_THE_CALLER = {"OMP_WAIT_POLICY": "ACTIVE", "GOMP_SPINCOUNT": "10", "PREFECT_LOGGING_LEVEL": "DEBUG", "TZ": "UTC"}
SECRETS = {"pipeline": "pipeline-secret", "ingest": "ingest-secret", "prefect": "prefect-secret"}
STATE = StackState(SECRETS, {"s3": 8333, "prefect": 4200})
LOCAL = Device("local", "device-local", "device-secret", "20261129T120000.000000Z")


def test_pipeline_environ_names_this_stack_and_no_other_service(tmp_path: Path) -> None:
    environ = pipeline_environ(FOREIGN, tmp_path, STATE)
    assert "MODNET_WEBHOOK_URL" not in environ
    assert environ["AWS_ENDPOINT_URL"] == "http://127.0.0.1:8333"
    assert environ["AWS_SECRET_ACCESS_KEY"] == "pipeline-secret"
    assert environ["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert environ["PREFECT_API_AUTH_STRING"] == environ["PREFECT_SERVER_API_AUTH_STRING"] == "prefect-secret"
    assert environ["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == "http://127.0.0.1:4200"
    assert environ["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"].endswith(".filesystem")
    assert environ["PREFECT_SERVER_UI_API_URL"] == "/api"
    assert environ["EDITOR"] == "ed"
    assert {name for name in environ if name.startswith("AWS_")} == {
        *("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"),
        *("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"),
    }
    assert {"RAY_ADDRESS", "PREFECT_CLIENT_METRICS_ENABLED"}.isdisjoint(environ)
    assert "elsewhere" not in "".join(environ.values())


def test_pipeline_environ_keeps_what_the_caller_has_chosen_and_names_no_service(tmp_path: Path) -> None:
    assert pipeline_environ(OF_THE_CALLER, tmp_path, STATE).items() >= OF_THE_CALLER.items()
    assert pipeline_environ({}, tmp_path, STATE)["OMP_WAIT_POLICY"] == "PASSIVE"


def test_json_logs_are_asked_of_every_process(tmp_path: Path) -> None:
    asked = {"MODNET_LOG": "json"}
    assert pipeline_environ(asked, tmp_path, STATE)["PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER"] == "json"
    environs = [pipeline_environ(asked, tmp_path, STATE), ingest_environ(asked, tmp_path, STATE)]
    assert [one["MODNET_LOG"] for one in [*environs, device_environ(asked, tmp_path, STATE, LOCAL)]] == ["json"] * 3
    assert not [name for name in pipeline_environ({}, tmp_path, STATE) if "FORMATTER" in name or name == "MODNET_LOG"]


@pytest.mark.parametrize(
    ("caller", "wanted"),
    [
        ({}, "127.0.0.1,localhost"),
        ({"NO_PROXY": "data.example, .internal"}, "data.example,.internal,127.0.0.1,localhost"),
        ({"no_proxy": "a,localhost", "NO_PROXY": "b,a"}, "a,localhost,b,127.0.0.1"),
        ({"no_proxy": "*"}, "*"),
    ],
)
def test_pipeline_environ_adds_its_services_to_what_the_caller_reaches_without_a_proxy(
    caller: dict[str, str], wanted: str, tmp_path: Path
) -> None:
    environ = pipeline_environ(caller, tmp_path, STATE)
    assert environ["NO_PROXY"] == environ["no_proxy"] == wanted


@pytest.mark.parametrize("name", ["pipeline", "ingest", "device"])
def test_what_the_stack_starts_reaches_its_store_past_any_proxy(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked of the library that decides, with variables as a company's machine has them."""
    caller = {"PATH": "/bin", "https_proxy": "http://proxy:3128", "http_proxy": "http://proxy:3128"}
    caller = {**caller, "NO_PROXY": "data.example"}
    if name == "device":
        environ = device_environ(caller, tmp_path, STATE, LOCAL)
    else:
        environ = (pipeline_environ if name == "pipeline" else ingest_environ)(caller, tmp_path, STATE)
    for variable in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(variable)
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    assert not getproxies() or proxy_bypass("127.0.0.1")
    assert not getproxies() or proxy_bypass("data.example")


def test_device_environ_holds_nothing_but_the_devices_rights(tmp_path: Path) -> None:
    environ = device_environ(FOREIGN, tmp_path, STATE, LOCAL)
    assert (environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"]) == ("device-local", "device-secret")
    assert not {"pipeline-secret", "ingest-secret", "prefect-secret"} & set(environ.values())
    assert not [name for name in environ if name.startswith("PREFECT") or name == "EDITOR"]


def test_ingest_environ_holds_its_own_rights_and_where_prefect_is(tmp_path: Path) -> None:
    environ = ingest_environ(FOREIGN, tmp_path, STATE)
    assert (environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"]) == ("ingest", "ingest-secret")
    assert environ["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert environ["PREFECT_API_AUTH_STRING"].endswith("prefect-secret")
    assert environ["MODNET_STORE"] == "s3://modnet"
    assert not {"EDITOR", "RAY_ADDRESS"} & set(environ)


def test_store_environ_holds_nobodys_rights_and_leads_to_no_settings_of_the_user(tmp_path: Path) -> None:
    wanted = {"PATH": "/bin", "HOME": str(tmp_path), "MODNET_STACK": str(tmp_path)}
    assert store_environ(FOREIGN, tmp_path) == wanted
