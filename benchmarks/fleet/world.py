"""What the agents live in: one store with its signed releases, and what was reported of them."""

from __future__ import annotations

import copy
from collections import Counter
from datetime import timedelta
from pathlib import Path

from tuf.api.metadata import Metadata, Timestamp

from benchmarks.fleet.agents import TARGET
from benchmarks.fleet.networks import GOOD, SHAPE, write_networks
from benchmarks.services import Services
from infra.device.documents.file_digest import FileDigest
from infra.device.documents.latency_report import FAILED, MEASURED, LatencyReport
from infra.device.documents.manifest import Manifest, TargetFiles
from infra.publishing.keys import TIMESTAMP, Keys, development_keys
from infra.publishing.pointers import pin, unpin
from infra.publishing.releases import promote, publish_release
from infra.publishing.repository import Publisher

_TIMESTAMP_KEY = "tuf/timestamp.json"


class World:
    """Releases, pins and reports.

    Attributes:
        wrong: sentences, one for each thing that must not have happened.
    """

    def __init__(self, services: Services, folder: Path) -> None:
        self.store, self.ingest_port = services.store, services.ports["ingest"]
        self.keys: Keys = development_keys(folder / "keys")
        self.wrong: list[str] = []
        self._forgers = development_keys(folder / "forgers")
        self._networks = folder / "networks"
        self._networks.mkdir()
        write_networks(self._networks)
        for path in self._networks.iterdir():
            self.store.upload_file(f"exports/{path.name}", path)
        self._read: set[str] = set()
        self._found: Counter[tuple[str, str, str]] = Counter()
        promote(self._publisher, TARGET, self.release("first"))
        self.first_timestamp = self.store.get(_TIMESTAMP_KEY)

    @property
    def _publisher(self) -> Publisher:
        return Publisher(self.store, self.keys)

    def release(self, network_id: str, network: str = GOOD) -> str:
        """Publishes a release, and returns its id."""
        files = {name: FileDigest.of(self._networks / name) for name in (f"{network}.xml", f"{network}.bin")}
        form = TargetFiles(f"{network}.xml", f"{network}.bin", "image", SHAPE, "fp32")
        manifest = Manifest("matting", network_id, {TARGET: form}, files, {}, {})
        return publish_release(self._publisher, manifest, {name: f"exports/{name}" for name in files})

    def promote(self, release_id: str) -> None:
        promote(self._publisher, TARGET, release_id)

    def bad_release(self, network: str, device: str) -> str:
        return self.release(f"{network}-{device}-{len(self._read)}", network)

    def pin(self, device: str, release_id: str) -> None:
        pin(self._publisher, TARGET, device, release_id)

    def unpin(self, device: str) -> None:
        unpin(self._publisher, TARGET, device)

    def look(self) -> None:
        """Reads the reports that are new."""
        for key in set(self.store.list("reports/")) - self._read:
            report = LatencyReport.from_json(self.store.get(key))
            self._found[report.device, report.release_id, report.status] += 1
            self._read.add(key)

    def measured(self, device: str, release_id: str) -> int:
        """How many reports say so, by the last look."""
        return self._found[device, release_id, MEASURED]

    def failed(self, device: str, release_id: str) -> int:
        return self._found[device, release_id, FAILED]

    def forged_timestamp(self) -> bytes:
        """The newest, with a version more, signed by somebody else."""
        return self._signed(self._forgers, expires_in=timedelta(7))

    def expired_timestamp(self) -> bytes:
        """The newest, with a version more, signed by the right key, and over since yesterday."""
        return self._signed(self.keys, expires_in=-timedelta(1))

    def _signed(self, keys: Keys, expires_in: timedelta) -> bytes:
        found: Metadata[Timestamp] = Metadata.from_bytes(self.store.get(_TIMESTAMP_KEY))
        made = copy.deepcopy(found)
        made.signed.version += 1
        made.signed.expires += expires_in - timedelta(7)
        made.sign(keys.signer(TIMESTAMP))
        return made.to_bytes()
