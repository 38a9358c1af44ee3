from __future__ import annotations

from pathlib import Path

from infra.local_stack.environments import device_environ, pipeline_environ, store_environ
from infra.local_stack.state import StackState

FOREIGN = {
    "PATH": "/bin",
    "HOME": "/home/someone",
    "AWS_PROFILE": "work",
    "AWS_SESSION_TOKEN": "token",
    "AWS_ENDPOINT_URL_S3": "https://elsewhere",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    "PREFECT_API_URL": "https://elsewhere/api",
    "MODNET_STORE": "s3://elsewhere",
    "RAY_ADDRESS": "elsewhere:6379",
    "EDITOR": "ed",
}
STATE = StackState({"pipeline": "pipeline-secret", "device": "device-secret"}, {"s3": 8333, "prefect": 4200})


def test_pipeline_environ_names_this_stack_and_no_other_service(tmp_path: Path) -> None:
    environ = pipeline_environ(FOREIGN, tmp_path, STATE)
    assert environ["AWS_ENDPOINT_URL"] == "http://127.0.0.1:8333"
    assert environ["AWS_SECRET_ACCESS_KEY"] == "pipeline-secret"
    assert environ["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert environ["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"].endswith(".filesystem")
    assert environ["PREFECT_SERVER_UI_API_URL"] == "/api"
    assert environ["EDITOR"] == "ed"
    assert {name for name in environ if name.startswith("AWS_")} == {
        *("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"),
        *("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"),
    }
    assert "RAY_ADDRESS" not in environ
    assert "elsewhere" not in "".join(environ.values())


def test_device_environ_holds_nothing_but_the_devices_rights(tmp_path: Path) -> None:
    environ = device_environ(FOREIGN, tmp_path, STATE)
    assert environ["AWS_SECRET_ACCESS_KEY"] == "device-secret"
    assert "pipeline-secret" not in environ.values()
    assert not [name for name in environ if name.startswith("PREFECT") or name == "EDITOR"]


def test_store_environ_holds_nobodys_rights(tmp_path: Path) -> None:
    wanted = {"PATH": "/bin", "HOME": "/home/someone", "MODNET_STACK": str(tmp_path)}
    assert store_environ(FOREIGN, tmp_path) == wanted
