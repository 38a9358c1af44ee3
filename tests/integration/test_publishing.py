"""Publishing on a real S3 server, killed and raced: the old release whole, or the new one, at every instant."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.device.releases import fetch_release, read_current
from infra.device.stores.object_store import open_store
from infra.publishing.releases import published
from infra.publishing.retiring import sweep
from tests.signing import keys, publisher_of, trust_of

ROOT = Path(__file__).parents[2]
PROLOGUE = """
import json, os, signal, sys, time, traceback
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

def release(number, one=None):
    files = {name: FileDigest.of_chunks([data]) for name, data in CONTENT.items()}
    form = TargetFiles("cpu-fp32.xml", "cpu-fp32.bin", "input", (1, 3, 8, 8), "fp32")
    manifest = Manifest("matting", f"n{number}", {"cpu-fp32": form}, files, {}, {})
    return publish_release(one or publisher(), manifest, {name: f"exports/{name}" for name in CONTENT})

def forked(step):
    pid = os.fork()
    if pid == 0:
        try:
            step()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return pid

for name, data in CONTENT.items():
    open_store(URL).put(f"exports/{name}", data)
"""
KILLS = """
import threading

class Counted:
    # A store that ends this process with SIGKILL at one of its requests: before it is sent, or while it is under way.
    def __init__(self, store, ends_at=None, under_way=False):
        self.store, self.ends_at, self.under_way, self.requests = store, ends_at, under_way, 0

    def __getattr__(self, name):
        found = getattr(self.store, name)
        return found if not callable(found) else lambda *args, **kwargs: self.request(found, args, kwargs)

    def request(self, method, args, kwargs):
        self.requests += 1
        if self.requests == self.ends_at:
            if not self.under_way:
                os.kill(os.getpid(), signal.SIGKILL)
            threading.Timer(0.001, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return method(*args, **kwargs)

def step(number, **ends):
    store = Counted(open_store(URL), **ends)
    one = Publisher(store, Keys(KEYS))
    promote(one, "cpu-fp32", release(number, one))
    (WORK / "requests").write_text(str(store.requests))

def ended_by(pid):
    status = os.waitpid(pid, 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

step(0)
assert ended_by(forked(lambda: step(51))) == 0
requests = int((WORK / "requests").read_text())
trust = Trust(open_store(URL), (KEYS / "root.json").read_bytes(), WORK / "trust")
seen, ends = [], []
for number in range(1, 51):
    at, under_way = 1 + (number - 1) * requests // 50, number % 2 == 0
    ends.append(ended_by(forked(lambda: step(number, ends_at=at, under_way=under_way))))
    trust.refresh()
    pointer = read_current(trust, "cpu-fp32")
    fetch_release(trust.store, pointer, WORK / "fetched")
    seen.append(pointer.release_id)
assert ended_by(forked(lambda: step(52))) == 0  # what was killed is in nobody's way
trust.refresh()
seen.append(read_current(trust, "cpu-fp32").release_id)
print(json.dumps({"seen": seen, "ends": ends, "requests": requests}))
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
    told = json.loads(printed(KILLS, url))
    seen = told["seen"]
    # Half are killed before a request is sent; of those under way the last may be quicker than the signal.
    assert set(told["ends"]) <= {signal.SIGKILL, 0}
    assert told["ends"].count(signal.SIGKILL) >= 25
    publisher = publisher_of(open_store(url))
    whole = {release_id for release_id, _ in published(publisher)}
    assert set(seen) <= whole
    assert seen[0] != seen[-1]
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
