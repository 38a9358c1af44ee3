"""Publishing on a real S3 server, killed and raced: the old release whole, or the new one, at every instant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.device.releases import fetch_release, read_current
from infra.device.stores.object_store import open_store
from infra.publishing.releases import published, sweep
from tests.signing import keys, publisher_of, trust_of

ROOT = Path(__file__).parents[2]
PROLOGUE = """
import json, os, signal, sys, time
from pathlib import Path
from infra.device.documents.file_digest import FileDigest
from infra.device.documents.manifest import Manifest, TargetFiles
from infra.device.errors import InfraError
from infra.device.releases import fetch_release, read_current
from infra.device.stores.object_store import open_store
from infra.device.trust import Trust
from infra.publishing.keys import Keys
from infra.publishing.releases import promote, publish_release
from infra.publishing.repository import Publisher

URL, KEYS, WORK = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
CONTENT = {"cpu-fp32.xml": b"<net/>", "cpu-fp32.bin": bytes(300_000)}

def publisher():  # a client of its own in each process
    return Publisher(open_store(URL), Keys(KEYS))

def release(number):
    files = {name: FileDigest.of_chunks([data]) for name, data in CONTENT.items()}
    form = TargetFiles("cpu-fp32.xml", "cpu-fp32.bin", "input", (1, 3, 8, 8), "fp32")
    manifest = Manifest("matting", f"n{number}", {"cpu-fp32": form}, files, {}, {})
    return publish_release(publisher(), manifest, {name: f"exports/{name}" for name in CONTENT})

def forked(step):
    pid = os.fork()
    if pid == 0:
        try:
            step()
        finally:
            os._exit(0)
    return pid

for name, data in CONTENT.items():
    open_store(URL).put(f"exports/{name}", data)
"""
KILLS = """
def step(number):
    promote(publisher(), "cpu-fp32", release(number))

step(0)
began = time.monotonic()
os.waitpid(forked(lambda: step(51)), 0)
lasts_s = time.monotonic() - began
trust = Trust(open_store(URL), (KEYS / "root.json").read_bytes(), WORK / "trust")
seen = []
for number in range(1, 51):
    pid = forked(lambda: step(number))
    time.sleep(lasts_s * number / 45)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    trust.refresh()
    pointer = read_current(trust, "cpu-fp32")
    fetch_release(trust.store, pointer, WORK / "fetched")
    seen.append(pointer.release_id)
print(json.dumps(seen))
"""
RACE = """
first = release(0)
promote(publisher(), "cpu-fp32", first)
releases = [release(number) for number in range(1, 17)]
start = time.time() + 3.0
def step(one, out):
    racing = publisher()
    time.sleep(max(0.0, start - time.time()))
    try:
        promote(racing, "cpu-fp32", one, instead_of=first)
        out.write_text(json.dumps(["won", one]))
    except InfraError as error:
        out.write_text(json.dumps([type(error).__name__, str(error)]))
outs = [WORK / f"{one}.json" for one in releases]
pids = [forked(lambda one=one, out=out: step(one, out)) for one, out in zip(releases, outs)]
trust = Trust(open_store(URL), (KEYS / "root.json").read_bytes(), WORK / "trust")
seen = []
while pids:
    trust.refresh()
    pointer = read_current(trust, "cpu-fp32")
    fetch_release(trust.store, pointer, WORK / "fetched")
    seen.append(pointer.release_id)
    pids = [pid for pid in pids if os.waitpid(pid, os.WNOHANG)[0] == 0]
trust.refresh()
seen.append(read_current(trust, "cpu-fp32").release_id)
print(json.dumps({"first": first, "seen": seen, "told": [json.loads(out.read_text()) for out in outs]}))
"""


@pytest.fixture
def printed(
    s3_environ: Callable[[str], dict[str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str, str], str]:
    """A function that runs a program as the pipeline, on a prefix of the bucket, and gives its last line."""
    for name, value in s3_environ("pipeline").items():
        monkeypatch.setenv(name, value)

    def run(program: str, url: str) -> str:
        command = [sys.executable, "-c", PROLOGUE + program, url, str(keys().folder), str(tmp_path)]
        ended = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr[-3000:]
        return ended.stdout.splitlines()[-1]

    return run


@pytest.mark.slow
def test_publishing_killed_at_50_points_leaves_the_old_release_or_the_new_one(
    printed: Callable[[str, str], str],
) -> None:
    url = "s3://modnet/kills"
    seen = json.loads(printed(KILLS, url))
    publisher = publisher_of(open_store(url))
    whole = {release_id for release_id, _ in published(publisher)}
    assert set(seen) <= whole
    assert 2 <= len(set(seen)) < 50  # some were killed before they changed anything, some after
    store = open_store(url)
    for key in store.list("publishing/"):
        store.put(key, b"20200101T000000.000000Z")  # as if it were long ago
    sweep(publisher)
    assert {key.split("/")[1] for key in store.list("releases/")} == whole
    assert store.list("publishing/") == []


@pytest.mark.slow
def test_of_16_racing_promoters_one_wins_and_every_loser_is_told(
    printed: Callable[[str, str], str], tmp_path: Path
) -> None:
    url = "s3://modnet/race"
    found = json.loads(printed(RACE, url))
    (winner,) = [said for word, said in found["told"] if word == "won"]
    losers = [(word, said) for word, said in found["told"] if word != "won"]
    assert len(losers) == 15
    assert {word for word, _ in losers} == {"ConflictError"}
    assert all("somebody moved it" in said or "by now, wanted" in said for _, said in losers)
    assert set(found["seen"]) <= {found["first"], winner}
    assert found["seen"][-1] == winner
    pointer = read_current(trust_of(open_store(url)), "cpu-fp32")
    assert fetch_release(open_store(url), pointer, tmp_path / "work").read_bytes() == b"<net/>"
