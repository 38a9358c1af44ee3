"""What signatures cost: publishing beside the same writes without them, and a device's look when nothing is new.

    python -m benchmarks.signing

Starts a SeaweedFS of its own in a temporary folder. A release has the files of the shipped `balanced` network. Signed
and plain take turns, each on a prefix of its own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.services import services
from infra.device.documents.file_digest import FileDigest
from infra.device.documents.manifest import Manifest, TargetFiles, release_file_key, release_id_of
from infra.device.documents.pointer import Pointer
from infra.device.releases import read_current
from infra.device.stores.object_store import ObjectStore, open_store
from infra.device.stores.s3_store import S3Store
from infra.device.trust import Trust
from infra.local_stack.services import BUCKET
from infra.publishing.keys import development_keys
from infra.publishing.releases import promote, publish_release
from infra.publishing.repository import Publisher
from modnet.workloads.matting.weights import FOLDER

TARGET = "cpu-int8"
FILES = {f"modnet-{TARGET}.{ending}": FOLDER / f"balanced-{TARGET}.{ending}" for ending in ("xml", "bin")}


class _CountingStore(S3Store):
    """Counts what is read by `get`."""

    requests = 0
    read_bytes = 0

    def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        self.requests += 1
        data = super().get(key, max_bytes=max_bytes)
        self.read_bytes += len(data)
        return data


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _measure(Path(folder), options.rounds)
    return 0


def _measure(folder: Path, rounds: int) -> None:
    with services(folder):
        signed, plain = (open_store(f"s3://{BUCKET}/{prefix}") for prefix in ("signed", "plain"))
        for store in (signed, plain):
            for name, path in FILES.items():
                store.upload_file(f"exports/{name}", path)
        keys = development_keys(folder / "keys")
        device = _CountingStore(BUCKET, "signed")
        trust = Trust(device, keys.root.to_bytes(), folder / "trust")
        took: dict[str, list[float]] = {
            name: [] for name in ("publish", "promote", "plain", "something new", "nothing")
        }
        for number in range(rounds):
            manifest = _manifest(number)
            publisher = Publisher(signed, keys)
            took["publish"].append(_timed(publish_release, publisher, manifest, _sources()))
            took["promote"].append(_timed(promote, publisher, TARGET, release_id_of(manifest)))
            took["plain"].append(_timed(_plain, plain, manifest))
            took["something new"].append(_timed(_look, trust))
            device.requests = device.read_bytes = 0
            took["nothing"].append(_timed(_look, trust))
    megabytes = sum(path.stat().st_size for path in FILES.values()) / 1e6
    print(f"releases of {megabytes:.1f} MB, {rounds} rounds in turns, medians\n\n| step | ms |\n|---|---:|")
    for name, seconds in took.items():
        print(f"| {name} | {1000 * median(seconds):.0f} |")
    print(f"\nnothing new: {device.requests} requests, {device.read_bytes} bytes of metadata")


def _plain(store: ObjectStore, manifest: Manifest) -> None:
    """The same files, manifest and pointer, by conditional writes and without a signature."""
    release = release_id_of(manifest)
    for path, digest in manifest.files.items():
        store.copy(_sources()[path], release_file_key(release, path), digest, if_absent=True)
    store.put(f"releases/{release}/manifest.json", manifest.to_json(), if_absent=True)
    store.put(f"targets/{TARGET}/current.json", Pointer(TARGET, release, "0" * 64).to_json())


def _manifest(number: int) -> Manifest:
    xml, weights = FILES
    files = {name: FileDigest.of(path) for name, path in FILES.items()}
    form = TargetFiles(xml, weights, "image", (1, 3, 384, 256), "int8")
    return Manifest("matting", "balanced", {TARGET: form}, files, {"round": number}, {})


def _sources() -> dict[str, str]:
    return {name: f"exports/{name}" for name in FILES}


def _look(trust: Trust) -> None:
    """What a device does in each round."""
    trust.refresh()
    read_current(trust, TARGET)


def _timed(step: Callable[..., object], *arguments: object) -> float:
    began = time.monotonic()
    step(*arguments)
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
