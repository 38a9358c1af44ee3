"""Releases whose rollout was stopped: what is signed of it, so that no later run promotes them again by itself.

stops/<target>/<sha256>.<release_id>.json     why, when and by whom
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field
from typing import ClassVar

from infra.device.documents.canonical_json import canonical_json
from infra.device.documents.checks import (
    check_name,
    check_release_id,
    check_sha256,
    check_text,
    check_time,
    time_of,
    utc_now,
)
from infra.device.documents.document import Document
from infra.device.documents.manifest import Manifest
from infra.device.errors import ContractError, DigestMismatchError, NotStoredError
from infra.device.trust import Trust
from infra.publishing.repository import Publisher

STOPS = "stops/"
DAMAGED = (NotStoredError, DigestMismatchError, ContractError)
"""What is raised where a signed object is gone, or is not what was signed."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stop(Document):
    """One stopped rollout.

    Attributes:
        back_to: the release that all devices of the target run again.
        networks_sha256: of what the target's devices run of the release, see `networks_sha256`; None: its manifest was
            damaged.
        reason: in words.
        by: the flow, or a person's command.
    """

    kind: ClassVar[str] = "stop"
    newest: ClassVar[int] = 1
    max_bytes: ClassVar[int] = 1 << 16

    target: str
    release_id: str
    back_to: str
    networks_sha256: str | None
    reason: str
    by: str
    stopped_at: str = field(default_factory=utc_now)
    schema_version: int = newest

    def __post_init__(self) -> None:
        self.check_schema_version(self.schema_version)
        check_name("stop.target", self.target)
        check_release_id("stop.release_id", self.release_id)
        check_release_id("stop.back_to", self.back_to)
        if self.networks_sha256 is not None:
            check_sha256("stop.networks_sha256", self.networks_sha256)
        check_text("stop.reason", self.reason)
        check_text("stop.by", self.by)
        check_time("stop.stopped_at", self.stopped_at)

    @property
    def words(self) -> str:
        """One sentence."""
        stopped_at = time_of(self.stopped_at)
        return (
            f"the rollout of release {self.release_id} was stopped at {stopped_at:%Y-%m-%d %H:%M} UTC by {self.by}: "
            f"{self.reason}"
        )


def stop_path(target: str, release_id: str) -> str:
    """The name under which a stop is signed: `stops/<target>/<release_id>.json`."""
    return f"{STOPS}{check_name('target', target)}/{check_release_id('release_id', release_id)}.json"


def networks_sha256(manifest: Manifest, target: str) -> str:
    """Tells apart what releases have a target's devices run: of the digests of its files, without their names."""
    return hashlib.sha256(
        canonical_json([manifest.files[path].sha256 for path in manifest.targets[target].paths])
    ).hexdigest()


def stops_of(publisher: Publisher, target: str, release_id: str, manifest: Manifest) -> dict[str, str]:
    """Why a release is not promoted by itself: it was stopped on this target, or another one of its networks was.

    Returns:
        Names of what is signed of it -> words, the release's own first. One that is damaged counts for its own release
        alone, as nobody can say which networks it was about.
    """
    own, networks, found = stop_path(target, release_id), networks_sha256(manifest, target), {}
    publisher.refresh()
    for path, signed in sorted(publisher.targets().targets.items(), key=lambda one: one[0] != own):
        if path.startswith(f"{STOPS}{target}/"):
            try:
                stop = Stop.from_json(publisher.content(signed))
            except DAMAGED as error:
                _log.warning("%s is damaged: %s", path, error)
                if path == own:
                    found[path] = f"its rollout was stopped, and what is signed of that is damaged: {error}"
                continue
            if path == own or stop.networks_sha256 == networks:
                found[path] = stop.words
    return found


def read_stops(trust: Trust) -> list[Stop]:
    """Every stop, by target and the newest first; a damaged one is left out, and named in the log."""
    found = []
    for path in trust.paths(STOPS):
        try:
            found.append(Stop.from_json(trust.read(path, max_bytes=Stop.max_bytes)))
        except DAMAGED as error:
            _log.warning("%s is left out: %s", path, error)
    return sorted(sorted(found, key=lambda one: one.stopped_at, reverse=True), key=lambda one: one.target)
