"""The services of infra/deploy/ without containers, as compose.yaml starts them, by a user without a name or a home.

Commands, variables and the Caddyfile are those of the files. Only addresses and paths are replaced: everything listens
on loopback, at free ports. Postgres is that of the system. Flows have a Ray of their own.
"""

from __future__ import annotations

import datetime
import json
import os
import pwd
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.deploy.worker import ray_node_command
from infra.device.agent.ingest import Ingest
from infra.device.documents.checks import utc_now
from infra.device.documents.latency_report import LatencyReport
from infra.device.errors import InfraError, NotStoredError, StoreRefusesError
from infra.device.stores.object_store import ObjectStore, open_store
from infra.local_stack.ports import LOOPBACK
from infra.local_stack.prefect_api import PrefectApi
from tests.deployment import DEPLOY, ROOT, compose, image_environ

pytestmark = pytest.mark.slow

NUMBER = 54321  # a user and a group that have no names here
WITHIN_S = 600.0
AS_POSTGRES = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
# As a container has it: SeaweedFS ends where another user's socket has the name of one of its own.
WITH_OWN_TMP = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs /tmp && exec "$@"', "sh")
BIN = Path(sys.executable).parent
SITES = ("prefect", "s3", "ingest")
PORTS = (*SITES, *(f"{name}-site" for name in SITES), "health", "postgres")
ON_RAY = """
import os, sys
from infra.ray_pool import run_on_ray, shutdown
print(run_on_ray(os.getuid, timeout_s=200, address=sys.argv[1]))
shutdown()
"""
FLOW = """
import os
from prefect import flow
from infra.device.stores.object_store import open_store
from infra.ray_pool import run_on_ray
from infra.settings import Settings

@flow
def tiny(key: str) -> None:
    assert os.environ["HOME"] == "/nonexistent"
    uid = run_on_ray(os.getuid, timeout_s=200)
    open_store(Settings.from_env().store_url).put(key, str(uid).encode())
"""
DEPLOYMENTS = """
name: production
deployments:
  - {name: on-demand, entrypoint: "tiny.py:tiny", work_pool: {name: modnet}}
"""


def postgres_program(name: str) -> Path:
    """A program of Postgres; Debian has them in a folder of their version."""
    return next(iter(sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)), Path(f"/usr/bin/{name}"))


@cache
def as_number() -> tuple[str, ...]:
    """What stands before a command that a user without a name shall run; skips where that cannot be."""
    if os.geteuid() != 0:
        pytest.skip("not root: processes cannot be started as another user")
    if not all(postgres_program(name).exists() for name in ("initdb", "postgres", "psql", "pg_dump", "pg_restore")):
        pytest.skip("Postgres is missing: install Debian's postgresql")
    if subprocess.run([*WITH_OWN_TMP, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespace can be made here")
    switch = ("setpriv", f"--reuid={NUMBER}", f"--regid={NUMBER}", "--clear-groups")
    # A Python in root's own home can be read by others with this capability, which lets them write nothing more.
    reading = (*switch, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    for command in (switch, reading):
        # Who cannot read this Python's own library may be given another one by the loader.
        started = [*command, sys.executable, "-c", "import infra, sys; print(sys.version, end='')"]
        tried = subprocess.run(started, cwd=ROOT, capture_output=True, text=True)
        if tried.stdout == sys.version:
            return command
    pytest.skip(f"other users cannot run this Python: {tried.stderr[-300:]}")


@dataclass
class Production:
    """The services in a folder, and what compose.yaml says as it is there."""

    folder: Path
    ports: Mapping[str, int]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def secrets(self) -> Path:
        return self.folder / "deploy" / "secrets"

    def url(self, site: str) -> str:
        return f"https://{LOOPBACK}:{self.ports[f'{site}-site']}"

    @property
    def api(self) -> PrefectApi:
        return PrefectApi(f"{self.url('prefect')}/api", self.secrets_of("worker")["PREFECT_API_AUTH_STRING"])

    def secrets_of(self, service: str) -> dict[str, str]:
        lines = (self.secrets / f"{service}.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def here(self, word: str) -> str:
        """A word of compose.yaml, with this machine's addresses and paths."""
        words = {"4200": "prefect", "8333": "s3", "8343": "ingest", "8081": "health", "5432": "postgres"}
        if word in words:
            return str(self.ports[words[word]])
        word = re.sub(r"\$\{MODNET_DOMAIN(:\?[^}]*)?\}", "example.org", word)
        for site, address in zip(SITES, ("prefect:4200", "store:8333", "ingest:8343"), strict=True):
            word = word.replace(f"https://{site}.example.org", self.url(site)).replace(f"{site}.example.org", LOOPBACK)
            word = word.replace(address, f"{LOOPBACK}:{self.ports[site]}")
        for secret, place in compose()["secrets"].items():
            word = word.replace(f"/run/secrets/{secret}", str(self.folder / "deploy" / place["file"]))
        word = word.replace("/data/", f"{self.data}/").replace("/tmp/prefect", f"{self.folder}/tmp/prefect")
        return {"0.0.0.0": LOOPBACK, "postgres": LOOPBACK, "python": sys.executable}.get(word, word)

    def environ(self, name: str) -> dict[str, str]:
        """What the container of a service has, without a home, and without a cluster of Ray."""
        service = compose()["services"][name]
        wanted = {**image_environ(), **service.get("environment", {})}
        found = {key: self.here(str(value)) for key, value in wanted.items() if key not in ("HOME", "RAY_ADDRESS")}
        own = str(self.folder / "tmp")
        of_the_image = {"PATH": f"{BIN}:/usr/bin:/bin", "PYTHONPATH": str(ROOT), "TMPDIR": own, "XDG_DATA_HOME": own}
        return {**found, **(self.secrets_of(name) if "env_file" in service else {}), **of_the_image}

    def command(self, name: str) -> list[str]:
        return [self.here(str(word)) for word in compose()["services"][name]["command"]]

    def start(self, name: str) -> None:
        """Starts a service as compose.yaml does; of the others' images, what their images start."""
        commands = {
            "postgres": [str(postgres_program("postgres")), "-D", str(self.folder / "postgres"),
                         f"--port={self.ports['postgres']}", "--unix_socket_directories="],
            "proxy": [str(BIN / "caddy"), "run", "--config", str(DEPLOY / "Caddyfile"), "--adapter", "caddyfile"],
        }  # fmt: skip
        command = commands.get(name) or self.command(name)
        before = AS_POSTGRES if name == "postgres" else as_number()
        if name == "store":
            before = (*WITH_OWN_TMP, *before)
        with open(self.log(name), "ab") as log:
            self.processes[name] = subprocess.Popen(
                [*before, *command],
                cwd=self.folder / "project",
                env={"PATH": os.environ["PATH"]} if name == "postgres" else self.environ(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self, name: str) -> None:
        process = self.processes.pop(name)
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def run(self, command: Sequence[str | Path], **variables: str) -> str:
        """What a program prints that the services' user runs with the worker's variables."""
        done = subprocess.run(
            [*as_number(), *(str(word) for word in command)],
            cwd=self.folder / "project",
            env={**self.environ("worker"), **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def psql(self, program: str, *arguments: str) -> str:
        password = self.secrets_of("postgres")["POSTGRES_PASSWORD"]
        where = ["-h", LOOPBACK, "-p", str(self.ports["postgres"]), "-U", "modnet"]
        return self.run([postgres_program(program), *where, *arguments], PGPASSWORD=password)

    @contextmanager
    def store(self, key: Mapping[str, str]) -> Iterator[ObjectStore]:
        """The store through the proxy, by somebody's key."""
        with pytest.MonkeyPatch.context() as environment:
            for name, value in {**self.environ("worker"), **key}.items():
                if name.startswith(("AWS_", "SSL_")):
                    environment.setenv(name, value)
            yield open_store("s3://modnet")

    def complete(self, key: str) -> None:
        """Runs the flow, which writes an object, and waits for it."""
        run = self.api.start_run("tiny/on-demand", {"key": key})
        self.wait(f"run {key}", lambda: self.api.state(run)["type"] in ("COMPLETED", "FAILED", "CRASHED"))
        assert self.api.state(run)["type"] == "COMPLETED", self.api.state(run)

    def log(self, name: str) -> Path:
        return self.folder / "log" / name

    def wait(self, what: str, is_so: Callable[[], Any]) -> None:
        deadline = time.monotonic() + WITHIN_S
        while not is_so():
            ended = [name for name, process in self.processes.items() if process.poll() is not None]
            late = time.monotonic() >= deadline
            logs = {name: self.log(name).read_text(errors="replace")[-3000:] for name in ended or self.processes}
            assert not ended, f"{what}: {logs}"
            assert not late, f"{what}: not within {WITHIN_S:g} s: {logs}"
            time.sleep(0.3)


@pytest.fixture(scope="module")
def production() -> Iterator[Production]:
    as_number()
    with pytest.raises(KeyError):
        pwd.getpwuid(NUMBER)
    here = Production(Path(tempfile.mkdtemp(prefix="p-", dir="/var/tmp")), free_ports())
    try:
        prepare(here)
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("SSL_CERT_FILE", str(here.secrets / "authorities.pem"))
            for name in ("postgres", "proxy", "store"):
                here.start(name)
            here.wait("Postgres", lambda: answers(lambda: here.psql("psql", "-d", "postgres", "-c", "SELECT 1")))
            here.psql("psql", "-d", "postgres", "-c", "CREATE DATABASE modnet")
            for name in ("prefect", "ingest", "worker"):
                here.start(name)
            is_online = [*here.command("worker"), "--is-online"]
            here.wait("the worker", lambda: answers(lambda: here.run(is_online)))
            yield here
    finally:
        for name in ("worker", "ingest", "prefect", "proxy", "store", "postgres"):
            if name in here.processes:
                here.stop(name)
        shutil.rmtree(here.folder)


def prepare(here: Production) -> None:
    """Files, secrets, a certificate and an empty database."""
    here.folder.chmod(0o755)
    for name in ("project", "log", "tmp"):
        (here.folder / name).mkdir()
    (here.folder / "project" / "tiny.py").write_text(FLOW)
    (here.folder / "project" / "prefect.yaml").write_text(DEPLOYMENTS)
    (here.folder / "deploy").mkdir()
    shutil.copy(DEPLOY / "make_secrets.sh", here.folder / "deploy")
    for path in (here.folder, *(here.folder / name for name in ("log", "tmp", "deploy"))):  # flows are only read
        os.chown(path, NUMBER, NUMBER)
    made = [here.folder / "deploy" / "make_secrets.sh", "example.org", here.data]
    subprocess.run([*as_number(), *made], env={"PATH": "/usr/bin:/bin"}, check=True)
    make_certificate(here.secrets)
    (here.folder / "postgres").mkdir()
    shutil.chown(here.folder / "postgres", "postgres", "postgres")
    password = here.folder / "postgres-password"
    password.write_text(here.secrets_of("postgres")["POSTGRES_PASSWORD"])
    shutil.chown(password, "postgres")
    initdb = [postgres_program("initdb"), "-D", here.folder / "postgres", "-U", "modnet", "--auth=scram-sha-256"]
    made = [*AS_POSTGRES, *initdb, f"--pwfile={password}", "--no-sync", "--locale=C.UTF-8"]
    subprocess.run(made, cwd="/", check=True, stdout=subprocess.DEVNULL)


def free_ports() -> dict[str, int]:
    held = [socket.create_server((LOOPBACK, 0)) for _ in PORTS]
    ports = {name: int(one.getsockname()[1]) for name, one in zip(PORTS, held, strict=True)}
    for one in held:
        one.close()
    return ports


def make_certificate(secrets: Path) -> None:
    """tls.pem and tls.key for loopback, by an authority that joins authorities.pem."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.datetime.now(datetime.UTC)
    names = {name: x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in ("authority", "leaf")}
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in names}

    def signed(name: str, extension: x509.ExtensionType) -> bytes:
        public = keys[name].public_key()
        builder = x509.CertificateBuilder(names["authority"], names[name], public, x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=30)).add_extension(extension, critical=True)
        return builder.sign(keys["authority"], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    files = {
        "tls.pem": signed("leaf", x509.SubjectAlternativeName([x509.IPAddress(ip_address(LOOPBACK))])),
        "tls.key": keys["leaf"].private_bytes(pem, serialization.PrivateFormat.PKCS8, plain),
    }
    for name, content in files.items():
        (secrets / name).write_bytes(content)
        (secrets / name).chmod(0o600)
        os.chown(secrets / name, NUMBER, NUMBER)
    with open(secrets / "authorities.pem", "ab") as authorities:
        authorities.write(signed("authority", x509.BasicConstraints(ca=True, path_length=0)))


def answers(question: Callable[[], Any]) -> bool:
    with suppress(AssertionError):
        question()
        return True
    return False


def test_a_flow_completes_through_the_proxy(production: Production) -> None:
    production.complete("tiny/first")
    with production.store(production.secrets_of("worker")) as store:
        assert store.get("tiny/first") == str(NUMBER).encode()


def test_each_door_asks_for_its_secret(production: Production) -> None:
    with httpx.Client(verify=ssl.create_default_context()) as client:
        api = f"{production.url('prefect')}/api"
        asked = client.post(f"{api}/flow_runs/filter", json={}, headers={"Origin": "https://elsewhere.example"})
        assert asked.status_code == 401
        assert "access-control-allow-origin" not in asked.headers
        assert client.get(f"{api}/health").json() is True
        assert client.get(f"{production.url('s3')}/modnet/tiny/first").status_code == 403
        assert client.put(f"{production.url('ingest')}/reports/a/b/c.json", content=b"{}").status_code in (401, 404)
        with socket.create_connection((LOOPBACK, production.ports["s3-site"]), timeout=WITHIN_S) as silent:
            assert silent.recv(1) == b""  # the proxy ends it
        # Within, Prefect answers to its own names only.
        inside = f"http://{LOOPBACK}:{production.ports['prefect']}/api/health"
        assert client.get(inside, headers={"Host": "elsewhere.example"}).status_code == 400
    with production.store({"AWS_SECRET_ACCESS_KEY": "another", "AWS_ACCESS_KEY_ID": "pipeline"}) as store:
        assert not is_given(store, "tiny/first")


def test_store_and_ingest_know_a_device_as_soon_as_it_is_added_or_revoked(production: Production) -> None:
    modnet = [BIN / "modnet", "device"]
    stack = ["--stack", production.data / "devices"]
    added = json.loads(production.run([*modnet, "add", "kitchen-1", *stack, "--json"]))
    assert added["environment"]["AWS_ENDPOINT_URL"] == production.url("s3")
    report = LatencyReport(
        "0123456789ab", "cpu-fp32", "kitchen-1", "openvino 2026.4.1", "failed", utc_now(), {}, reason="no"
    )
    with production.store(production.secrets_of("worker")) as store:
        store.put("releases/seen", b"seen")
    with production.store(added["environment"]) as store:
        production.wait("the store knows the device", lambda: is_given(store, "releases/seen"))
        assert not is_given(store, "tiny/first")
        Ingest(production.url("ingest")).put(report.key(), report.to_json())
        production.run([*modnet, "revoke", "kitchen-1", *stack])
        production.wait("the store has forgotten the device", lambda: not is_given(store, "releases/seen"))
        with pytest.raises(StoreRefusesError, match="revoked"):
            Ingest(production.url("ingest")).put(report.key(), report.to_json())
    with production.store(production.secrets_of("worker")) as store:
        assert store.get(report.key()) == report.to_json()


def is_given(store: ObjectStore, key: str) -> bool:
    try:
        return bool(store.get(key))
    except NotStoredError:
        raise
    except InfraError:
        return False


def test_the_proxy_says_when_to_come_again_and_the_worker_does(production: Production) -> None:
    production.stop("prefect")
    with httpx.Client(verify=ssl.create_default_context()) as client:
        answer = client.get(f"{production.url('prefect')}/api/health")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    production.start("prefect")
    production.wait("Prefect", production.api.is_healthy)
    production.complete("tiny/after-the-server-was-away")
    assert production.processes["worker"].poll() is None


def test_a_copy_of_database_and_store_holds_what_was_there(production: Production) -> None:
    """The commands of docs/production.md."""
    with production.store(production.secrets_of("worker")) as store:
        store.put("kept", b"kept")
    asked = ("-At", "-c", "SELECT count(*) FROM deployment")
    dump = production.folder / "tmp" / "prefect.dump"
    production.psql("pg_dump", "-Fc", "-f", str(dump), "modnet")
    production.psql("psql", "-d", "postgres", "-c", "CREATE DATABASE restored")
    production.psql("pg_restore", "--exit-on-error", "-d", "restored", str(dump))
    counts = [int(production.psql("psql", "-d", name, *asked)) for name in ("restored", "modnet")]
    assert counts[0] == counts[1] > 0

    production.stop("store")
    archive = production.folder / "tmp" / "store.tar"
    production.run(["tar", "-C", production.data, "-cf", archive, "store"])
    shutil.rmtree(production.data / "store")
    production.run(["tar", "-C", production.data, "-xf", archive])
    production.start("store")
    with production.store(production.secrets_of("worker")) as store:
        production.wait("the store", lambda: is_given(store, "kept"))


def test_a_cluster_of_ray_takes_who_has_its_token() -> None:
    """Head, worker and the node of the Prefect worker, as compose.yaml starts them, in a network of their own.

    There Ray may listen on every address, and at the port that it is told.
    """
    unshare = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespace can be made here")
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # short, as Ray has sockets in it
    os.chown(folder, NUMBER, NUMBER)
    services = compose()["services"]
    address = f"{LOOPBACK}:6379"

    def shell(words: Sequence[object]) -> str:
        here = [str(word).replace("ray-head:6379", address).replace("${MODNET_RAY_CPUS:-2}", "1") for word in words]
        return shlex.join([*as_number(), *here])

    node = shell(ray_node_command(address))
    on_ray = shell([sys.executable, "-c", ON_RAY, address])
    health = shell(services["ray-head"]["healthcheck"]["test"][1:])
    script = f"""
    ip link set lo up
    {shell([*services["ray-head"]["command"], f"--temp-dir={folder}/head"])} > head.log 2>&1 &
    until {health} 2> health.log; do sleep 1; done
    {node} > node.log 2>&1 &
    {shell(services["ray-worker"]["command"])} > worker.log 2>&1 &
    until {on_ray} 2> flow.log; do sleep 1; done
    RAY_AUTH_TOKEN={"0" * 60} {on_ray} 2>&1 | tail -n 1
    """
    token = {"RAY_AUTH_TOKEN": "1" * 60, "PATH": f"{BIN}:/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(ROOT)}
    environ = {**image_environ(), **token, "HOME": "/nonexistent", "TMPDIR": str(folder)}
    try:
        done = subprocess.run(
            [*unshare, "bash", "-c", script], cwd=folder, env=environ, capture_output=True, text=True, timeout=WITHIN_S
        )
        found, refused = done.stdout.splitlines()[-2:]
        assert found == str(NUMBER)
        assert "no cluster answers" in refused
    finally:
        shutil.rmtree(folder)
