"""The services of infra/deploy/ without containers, as compose.yaml starts them, by a user without a name or a home.

Commands, variables and the Caddyfile are those of the files. Only addresses and paths are replaced: everything listens
on loopback, at free ports. Postgres is that of the system. Flows have a Ray of their own. The tests are steps of one
story, in their order.
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
from tests.deployment import DEPLOY, ROOT, compose, image_environ, ray_in_kubernetes

pytestmark = pytest.mark.slow

NUMBER = 54321  # a user and a group that have no names here
WITHIN_S = 600.0
AS_POSTGRES = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
# As a container has it: SeaweedFS ends where another user's socket has the name of one of its own.
WITH_OWN_TMP = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs /tmp && exec "$@"', "sh")
BIN = Path(sys.executable).parent
SITES = ("prefect", "s3", "ingest")
PORTS = (*SITES, *(f"{name}-site" for name in SITES), "health", "postgres")
PAGE = "fleet/fleet.html"
# Says whether Ray goes on after the greetings of TLS: to who has a certificate, and to who has none.
GREETING = """
import socket, ssl, sys
address, authority, *own = sys.argv[1:]
host, port = address.split(":")
trust = ssl.create_default_context(cafile=authority)
trust.set_alpn_protocols(["h2"])
if own:
    trust.load_cert_chain(*own)
with socket.create_connection((host, int(port))) as plain, trust.wrap_socket(plain, server_hostname=host) as link:
    try:
        print(bool(link.recv(1)))
    except (ssl.SSLError, ConnectionError):
        print(False)
"""
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
  - {name: stage, entrypoint: "fleet.py:collect", work_pool: {name: modnet}}
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
    commands_seen: set[str] = field(default_factory=set)

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
        secrets = self.secrets_of(Path(service["env_file"]).stem) if "env_file" in service else {}
        return {**found, **secrets, **of_the_image}

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

    def run(self, command: Sequence[str | Path], service: str = "worker", **variables: str) -> str:
        """What a program prints that the services' user runs with the variables of a service."""
        done = subprocess.run(
            [*as_number(), *(str(word) for word in command)],
            cwd=self.folder / "project",
            env={**self.environ(service), **variables},
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

    def complete(self, deployment: str, **parameters: str) -> None:
        """Runs a flow and waits for it."""
        run = self.api.start_run(deployment, parameters)
        self.wait(deployment, lambda: self.api.state(run)["type"] in ("COMPLETED", "FAILED", "CRASHED"))
        assert self.api.state(run)["type"] == "COMPLETED", self.api.state(run)

    def admin(self, *arguments: str | Path) -> Any:
        """What `docker compose run --rm admin modnet …` answers, with --json."""
        return json.loads(self.run([BIN / "modnet", *arguments, "--json"], "admin"))

    def log(self, name: str) -> Path:
        return self.folder / "log" / name

    def wait(self, what: str, is_so: Callable[[], Any]) -> None:
        deadline = time.monotonic() + WITHIN_S
        while not is_so():
            self.commands_seen |= commands_of(NUMBER, pwd.getpwnam("postgres").pw_uid)
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
            make_database(here)
            start_the_rest(here)
            yield here
    finally:
        for name in ("worker", "ingest", "prefect", "proxy", "store", "postgres"):
            if name in here.processes:
                here.stop(name)
        shutil.rmtree(here.folder)


def make_database(here: Production) -> None:
    """What the image of Postgres does once in an empty folder; it runs by then."""
    here.wait("Postgres", lambda: answers(lambda: here.psql("psql", "-d", "postgres", "-c", "SELECT 1")))
    here.psql("psql", "-d", "postgres", "-c", "CREATE DATABASE modnet")


def start_the_rest(here: Production) -> None:
    """Starts what depends on Postgres, proxy and store, and waits for the worker's health check."""
    for name in ("prefect", "ingest", "worker"):
        here.start(name)
    is_online = [*here.command("worker"), "--is-online"]
    here.wait("the worker", lambda: answers(lambda: here.run(is_online)))


def commands_of(*users: int) -> set[str]:
    """Command lines of all processes of these users, as everybody on this machine can read them."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if folder.stat().st_uid in users:
                found.add((folder / "cmdline").read_bytes().decode(errors="replace").replace("\0", " "))
    return found


def prepare(here: Production) -> None:
    """Files, secrets, a certificate and an empty database."""
    here.folder.chmod(0o755)
    for name in ("project", "log", "tmp"):
        (here.folder / name).mkdir()
    (here.folder / "project" / "tiny.py").write_text(FLOW)
    (here.folder / "project" / "fleet.py").write_text("from flows.collect import collect\n")
    (here.folder / "project" / "prefect.yaml").write_text(DEPLOYMENTS)
    (here.folder / "deploy").mkdir()
    shutil.copy(DEPLOY / "make_secrets.sh", here.folder / "deploy")
    for path in (here.folder, *(here.folder / name for name in ("log", "tmp", "deploy"))):  # flows are only read
        os.chown(path, NUMBER, NUMBER)
    made = [here.folder / "deploy" / "make_secrets.sh", "example.org", here.data]
    subprocess.run([*as_number(), *made], env={"PATH": "/usr/bin:/bin"}, check=True)
    make_certificate(here.secrets)
    make_cluster(here)


def make_cluster(here: Production) -> None:
    """An empty folder of Postgres, with the password of secrets/."""
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
    production.complete("tiny/on-demand", key="tiny/first")
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


def test_a_device_enrols_reports_and_is_seen_until_it_is_revoked(production: Production) -> None:
    """The page of the fleet is written soon after the report: nobody starts that flow."""
    root, devices, device = production.folder / "tmp", ["--stack", production.data / "devices"], production.folder / "d"
    production.admin("keys", "new", "--keys", production.data / "keys", "--root-folder", root)
    token = production.admin("device", "invite", "kitchen-1", *devices)["token"]
    enrol = [sys.executable, "-m", "infra.device", "enrol", production.url("ingest"), token, "--config"]
    trust = {"AWS_CA_BUNDLE": str(production.secrets / "authorities.pem"), "PATH": "/usr/bin:/bin"}
    first, second = (
        subprocess.run([*enrol, folder / "agent.toml"], cwd=ROOT, env=trust, capture_output=True, text=True)
        for folder in (device, production.folder / "thief")
    )
    assert first.returncode == 0, first.stderr
    assert "was used at" in second.stderr
    settings = (device / "agent.toml").read_text()
    assert f'endpoint = "{production.url("s3")}"' in settings
    assert (device / "root.json").read_bytes() == (production.data / "keys" / "root.json").read_bytes()
    key = dict(re.findall(r"^(aws_\w+) = (\S+)$", (device / "key").read_text(), re.MULTILINE))
    key = {name.upper(): value for name, value in key.items()}

    report = LatencyReport(
        "0123456789ab", "cpu-fp32", "kitchen-1", "openvino 2026.4.1", "failed", utc_now(), {}, reason="no"
    )
    with production.store(production.secrets_of("worker")) as store:
        store.put("releases/seen", b"seen")
    with production.store(key) as store:
        production.wait("the store knows the device", lambda: is_given(store, "releases/seen"))
        assert not is_given(store, "tiny/first")
        Ingest(production.url("ingest")).put(report.key(), report.to_json())
    with production.store(production.secrets_of("worker")) as store:
        assert store.get(report.key()) == report.to_json()
        production.wait("the page of the fleet", lambda: store.exists(PAGE))
        assert b"kitchen-1" in store.get(PAGE)
    production.admin("device", "revoke", "kitchen-1", *devices)
    with production.store(key) as store:
        production.wait("the store has forgotten the device", lambda: not is_given(store, "releases/seen"))
        with pytest.raises(StoreRefusesError, match="revoked"):
            Ingest(production.url("ingest")).put(report.key(), report.to_json())
    production.complete("collect/stage")
    with production.store(production.secrets_of("worker")) as store:
        assert b"kitchen-1" not in store.get(PAGE)


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
    production.complete("tiny/on-demand", key="tiny/after-the-server-was-away")
    assert production.processes["worker"].poll() is None


def test_an_empty_machine_is_brought_back_from_a_backup(production: Production) -> None:
    """The commands of docs/production.md. What is kept elsewhere: the dump, the archive, `.env` and `secrets/`."""
    devices = ("--stack", production.data / "devices")
    counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in ("deployment", "automation", "flow_run"))
    asked = ("psql", "-d", "modnet", "-At", "-c", f"SELECT {counts}")
    key = production.admin("device", "add", "shelf-2", *devices)["environment"]
    with production.store(key) as store:
        production.wait("the store knows the device", lambda: is_given(store, "releases/seen"))
    dump, archive = production.folder / "tmp" / "prefect.dump", production.folder / "tmp" / "modnet.tar"
    before = production.psql(*asked)
    production.psql("pg_dump", "-Fc", "-f", str(dump), "modnet")
    for name in ("worker", "ingest", "store"):
        production.stop(name)
    production.run(["tar", "-C", production.data, "-cf", archive, "store", "devices", "keys", "prefect"])

    for name in ("prefect", "postgres"):
        production.stop(name)
    shutil.rmtree(production.data)
    shutil.rmtree(production.folder / "postgres")
    for folder in (production.data, production.data / "cache"):
        folder.mkdir(mode=0o700)
        os.chown(folder, NUMBER, NUMBER)

    production.run(["tar", "-C", production.data, "-xf", archive])
    make_cluster(production)
    production.start("postgres")
    make_database(production)
    production.psql("pg_restore", "--exit-on-error", "-d", "modnet", str(dump))
    assert production.psql(*asked) == before
    production.start("store")
    start_the_rest(production)
    production.complete("tiny/on-demand", key="tiny/restored")
    with production.store(key) as store:
        production.wait("the store knows the device", lambda: is_given(store, "releases/seen"))
    with production.store(production.secrets_of("worker")) as store:
        assert store.get("tiny/first") == str(NUMBER).encode()
    assert production.psql(*asked).split("|")[:2] == before.split("|")[:2]  # deployed anew, and none is twice


def test_no_secret_stands_in_a_command_line_or_a_log(production: Production) -> None:
    files = [
        *production.secrets.glob("*.env"),
        production.secrets / "store.json",
        production.data / "devices/devices.json",
    ]
    found = [re.findall(r"[\w-]{40,}", path.read_text()) for path in files]
    secrets = {secret for of_one in found for secret in of_one}
    assert len(secrets) >= 7  # five of make_secrets.sh, two of devices
    assert len(production.commands_seen) > 10
    said = {path.name: path.read_text(errors="replace") for path in (production.folder / "log").iterdir()}
    said |= {command: command for command in production.commands_seen}
    assert [(name, secret) for name, text in said.items() for secret in secrets if secret in text] == []


def test_a_cluster_of_ray_hears_who_has_its_token_and_a_certificate() -> None:
    """Head, worker and the node of the Prefect worker, as compose.yaml starts them, with TLS as in Kubernetes.

    In a network of their own: there Ray may listen on every address, and at the port that it is told.
    """
    unshare = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespace can be made here")
    as_number()
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # short, as Ray has sockets in it
    shutil.copy(DEPLOY / "make_secrets.sh", folder)
    (folder / "tls").mkdir()
    for path in (folder, folder / "tls"):
        os.chown(path, NUMBER, NUMBER)
    services, (certificate, settings) = compose()["services"], ray_in_kubernetes()
    address = "modnet-head-svc:6379"
    replaced = {
        "ray-head:6379": address,
        "${MODNET_RAY_CPUS:-2}": "1",
        "$(POD_IP)": LOOPBACK,
        "/run/ray-authority": str(folder / "secrets"),
        "/run/ray-tls": str(folder / "tls"),
    }

    def here(word: object) -> str:
        text = str(word)
        for old, new in replaced.items():
            text = text.replace(old, new)
        return sys.executable if text == "python" else text

    def shell(words: Sequence[object]) -> str:
        return shlex.join([*as_number(), *map(here, words)])

    def service(words: Sequence[object], log: str) -> str:
        """Started again where it ends: Ray gives up after 30 s, which a busy machine takes."""
        return f"(while true; do {shell(words)} >> {log}.log 2>&1; sleep 1; done) &"

    tls = folder / "tls"
    greeting = [sys.executable, "-c", GREETING, address, tls / "authority.pem"]
    on_ray = shell([sys.executable, "-c", ON_RAY, address])
    health = shell(services["ray-head"]["healthcheck"]["test"][1:])
    script = f"""
    ip link set lo up
    echo "{LOOPBACK} localhost modnet-head-svc" > hosts && mount --bind hosts /etc/hosts
    {shell(["./make_secrets.sh", "example.org", folder / "data"])}
    {shell(certificate)}
    {service([*services["ray-head"]["command"], f"--temp-dir={folder}/head"], "head")}
    until {health} 2> health.log; do sleep 1; done
    {service(ray_node_command(address), "node")}
    {service(services["ray-worker"]["command"], "worker")}
    until {on_ray} 2> flow.log; do sleep 1; done
    RAY_AUTH_TOKEN={"0" * 60} {on_ray} 2>&1 | tail -n 1
    {shell([*greeting, tls / "node.pem", tls / "node.key"])}
    {shell(greeting)}
    """
    token = {"RAY_AUTH_TOKEN": "1" * 60, "PATH": f"{BIN}:/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(ROOT)}
    own = {name: here(value) for name, value in settings.items()}
    environ = {**image_environ(), **token, **own, "HOME": "/nonexistent", "TMPDIR": str(folder)}
    try:
        done = subprocess.run(
            [*unshare, "bash", "-c", script], cwd=folder, env=environ, capture_output=True, text=True, timeout=WITHIN_S
        )
        found, other_token, *greeted = done.stdout.splitlines()[-4:]
        assert found == str(NUMBER)
        assert "it refuses the token of this process" in other_token
        assert greeted == ["True", "False"]
    finally:
        shutil.rmtree(folder)
