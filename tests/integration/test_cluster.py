"""Nodes that share no folder: one is killed in an epoch, or has another version, a wrong clock or a full disk.

The tests are steps of one story, in their order, on the cluster of `make cluster-demo`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from benchmarks.cluster import NODES, ONE_CPU, PROJECT, Cluster, Machine
from benchmarks.tiny import tiny_run
from infra.errors import StackError
from infra.settings import Settings
from modnet.records import StoredFile
from tasks.stored import fetch, this_store

pytestmark = pytest.mark.slow

WITHIN_S = 600.0
KEPT, LOST = NODES
IMAGES = 64
STEPS = 58  # of an epoch: the other six images are tune
# Which files of a candidate's training are stored and how far it says to be, a line for every change.
WATCH = """
import json, sys, time
from infra.settings import Settings
from infra.device.errors import NotStoredError
from infra.device.stores.object_store import open_store
from tasks.stored_network import progress_key, state_key
store, told = open_store(Settings.from_env().store_url), None
folder = f"candidates/{sys.argv[1]}"
while True:
    try:
        step = json.loads(store.get(progress_key(folder)))["step"]
    except NotStoredError:
        step = 0
    now = "saved" if state_key(folder) in store.list(folder) else "unsaved", step
    if now != told:
        print(*now, flush=True)
        told = now
    time.sleep(0.1)
"""
# Two computations at once, each on a node of its own; then two more, which say where they were.
TWICE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from infra.ray_pool import run_on_ray, shutdown
from tests.integration.test_cluster import read_file
from tasks.retries import may_pass
address, key = sys.argv[1:]
def call(number):
    try:
        return run_on_ray(read_file, key, number, timeout_s=200, address=address)
    except Exception as error:
        return f"{type(error).__name__} (worth another try: {may_pass(error)}): {error}"
for numbers in ((0, 1), (2, 3)):
    with ThreadPoolExecutor() as pool:
        print("".join(f"answer: {one}\\n" for one in pool.map(call, numbers)))
shutdown()
"""
PUT = """
from tasks.stored import put_file, this_store
print(put_file(this_store(60), "big.bin", bytes(1 << 20)).model_dump_json())
"""
KEYS = """
from tasks.stored import this_store
print(*this_store(60).list(""))
"""
# Reads the time for signatures an hour too late.
AN_HOUR_OFF = """
import botocore.auth
from datetime import timedelta
right = botocore.auth.get_current_datetime
botocore.auth.get_current_datetime = lambda *args, **kwargs: right(*args, **kwargs) + timedelta(hours=1)
"""


def read_file(file: str, number: int) -> str:
    """On a node: fetches a stored file, and says on which machine it is then."""
    fetch(this_store(3600), StoredFile.model_validate_json(file), Settings.from_env().cache_folder / str(number))
    time.sleep(10.0)  # so that both nodes are asked
    return Path(os.environ["MODNET_MACHINE"]).name


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with TemporaryDirectory(prefix="modnet-cluster-", dir="/tmp") as folder, Cluster(Path(folder)) as running:
        yield running


def lines(log: Path) -> list[str]:
    """The whole lines of a log."""
    return log.read_text().splitlines(keepends=True) if log.exists() else []


def wait_for(log: Path, process: subprocess.Popen[bytes], found: Callable[[str], bool], after: int = 0) -> str:
    """The first line that is so, from number `after` on."""
    deadline = time.monotonic() + WITHIN_S
    while not (good := [line for line in lines(log)[after:] if line.endswith("\n") and found(line)]):
        assert process.poll() is None, log.read_text()[-5000:]
        assert time.monotonic() < deadline, log.read_text()[-5000:]
        time.sleep(0.05)
    return good[0]


def test_a_node_that_is_killed_in_an_epoch_costs_at_most_that_epoch(cluster: Cluster) -> None:
    config = tiny_run(cluster.head.folder, compute=ONE_CPU)
    synthetic = config.dataset.synthetic.model_copy(update={"train": IMAGES})
    dataset = config.dataset.model_copy(update={"synthetic": synthetic})
    retrain = config.retrain.model_copy(update={"epochs": 2, "batch_size": 1, "image_size": 96})
    flow = cluster.run_flow(config.model_copy(update={"dataset": dataset, "retrain": retrain}))
    log, told = cluster.head.folder / "flow.log", cluster.head.folder / "told"
    for node in (KEPT, LOST):
        line = wait_for(
            log, flow, lambda line, node=node: line.startswith("retrain") and f"started on {node} at" in line
        )
    candidate = line.split()[1].rstrip(":")
    watch = cluster.head.start([sys.executable, "-c", WATCH, candidate], told.name)
    wait_for(told, watch, lambda line: line.startswith("saved"))  # the first epoch is over, the second has begun
    cluster.machines[LOST].kill()
    wait_for(log, flow, lambda line: line.startswith(f"retrain {candidate}: started on {KEPT} at"))
    first = wait_for(told, watch, lambda _: True, after=len(lines(told)))
    assert flow.wait(WITHIN_S) == 0, log.read_text()
    assert int(first.split()[1]) > STEPS  # nothing of the first epoch was trained again
    assert not (cluster.machines[KEPT].folder / LOST).exists()
    keys = cluster.head.run([sys.executable, "-c", KEYS]).split()
    assert [key for key in keys if key.startswith("releases/")]
    assert [key for key in keys if key.startswith(f"candidates/{candidate}/retrained")]


def fake(folder: Path, name: str, content: str) -> str:
    """A PYTHONPATH with a file of its own."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content)
    return f"{folder}:{PROJECT}"


@pytest.fixture
def node(cluster: Cluster) -> Iterator[Machine]:
    """The other node, off."""
    cluster.machines[LOST].kill()
    yield cluster.machines[LOST]
    cluster.machines[LOST].kill()


def twice(cluster: Cluster) -> list[str]:
    """The answers alone: Ray prints what its nodes say as well, as of the one that the test before has killed."""
    file = cluster.head.run([sys.executable, "-c", PUT]).strip()
    said = cluster.head.run([sys.executable, "-c", TWICE, cluster.ray_address, file]).splitlines()
    return [line.partition("answer: ")[2] for line in said if line.startswith("answer: ")]


def assert_refused(first: list[str], words: str) -> None:
    """At least one of the first calls was; whether one went to the good node is Ray's choice."""
    refused = [one for one in first if one != KEPT]
    assert refused
    assert [one for one in refused if not re.match(words, one)] == []


def test_a_node_of_another_torch_is_refused_by_its_name(cluster: Cluster, node: Machine) -> None:
    path = fake(node.folder / "torch", "torch-2.0.0.dist-info/METADATA", "Name: torch\nVersion: 2.0.0\n")
    cluster.join(LOST, PYTHONPATH=path)
    first = twice(cluster)[:2]
    assert_refused(
        first,
        rf"SettingsError \(worth another try: False\): Ray worker on \S+ at {node.address} "
        rf"\(pid \d+\): has torch 2.0.0 instead of {re.escape(version('torch'))}; install the same wheel on every node",
    )


@pytest.mark.parametrize("found", [("2.59.0", "3.11.7"), ("2.60.0", "3.10.1")], ids=["Ray", "Python"])
def test_a_node_of_another_ray_or_python_does_not_join(
    found: tuple[str, str], cluster: Cluster, node: Machine, tmp_path: Path
) -> None:
    content = f"import ray._private.utils\nray._private.utils.compute_version_info = lambda: {found}\n"
    words = rf"(?s)Version mismatch: .*This process on node .*Ray: {found[0]}\s+Python: {found[1]}"
    with pytest.raises(StackError, match=words):
        cluster.join(LOST, PYTHONPATH=fake(tmp_path, "sitecustomize.py", content))


def test_a_node_whose_clock_is_wrong_is_named_and_left_out(cluster: Cluster, node: Machine) -> None:
    cluster.join(LOST, PYTHONPATH=fake(node.folder / "clock", "sitecustomize.py", AN_HOUR_OFF))
    *first, third, fourth = twice(cluster)
    assert_refused(
        first,
        rf"ClockError \(worth another try: True\): on \S+ at {node.address} \(pid \d+\): '\S+' in s3://modnet "
        r"at \S+: the clock of this machine is wrong: .* GMT here, .* in the store",
    )
    assert (third, fourth) == (KEPT, KEPT)


def test_a_node_whose_disk_is_full_is_named_and_left_out(cluster: Cluster, node: Machine) -> None:
    if not cluster.has_networks:
        pytest.skip("no mounts of one's own here")
    cluster.join(LOST)
    node.run(["mount", "-t", "tmpfs", "-o", "size=500k", "none", str(node.folder / "cache")])
    *first, third, fourth = twice(cluster)
    assert_refused(
        first,
        rf"DiskFullError \(worth another try: True\): on \S+ at {node.address} \(pid \d+\): {node.folder}/cache/\S+: "
        "no room to write: ",
    )
    assert (third, fourth) == (KEPT, KEPT)
