"""Releases on trial: what a target's devices measure beside the release that they run, and never run for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from infra.device.documents.checks import check_name, check_release_id, check_sha256, check_time, utc_now
from infra.device.documents.document import Document
from infra.device.documents.json_object import JsonObject
from infra.device.documents.pointer import Pointer
from infra.device.errors import ContractError

MAX_TRIALS = 8


@dataclass(frozen=True)
class TrialRelease:
    """A release on trial.

    Attributes:
        manifest_sha256: of its manifest, which a device trusts by it.
    """

    release_id: str
    manifest_sha256: str

    def __post_init__(self) -> None:
        check_release_id("trials.releases.release_id", self.release_id)
        check_sha256("trials.releases.manifest_sha256", self.manifest_sha256)


@dataclass(frozen=True)
class Trials(Document):
    """What is on trial for one target.

    Attributes:
        releases: 1 to MAX_TRIALS, each once, in the order in which devices measure them.
        against: the release that the target ran when they were published.
        decide_by: when it is decided without the devices that have not reported, UTC.
    """

    kind: ClassVar[str] = "trials"
    newest: ClassVar[int] = 1
    max_bytes: ClassVar[int] = 1 << 16

    target: str
    releases: tuple[TrialRelease, ...]
    against: str
    decide_by: str
    published_at: str = field(default_factory=utc_now)
    schema_version: int = newest

    def __post_init__(self) -> None:
        self.check_schema_version(self.schema_version)
        check_name("trials.target", self.target)
        check_release_id("trials.against", self.against)
        check_time("trials.decide_by", self.decide_by)
        check_time("trials.published_at", self.published_at)
        ids = self.release_ids
        if not 1 <= len(ids) <= MAX_TRIALS or len(set(ids)) < len(ids) or self.against in ids:
            got = ", ".join(ids[: MAX_TRIALS + 1]) or "none"
            raise ContractError(
                f"trials.releases: got {len(ids)}: {got}; wanted 1 to {MAX_TRIALS}, each once, and not {self.against}"
            )

    @property
    def release_ids(self) -> tuple[str, ...]:
        """What is on trial, in order."""
        return tuple(one.release_id for one in self.releases)

    def beside(self, current: Pointer) -> tuple[Pointer, ...]:
        """What a device measures that follows `current`: each trial as if it replaced the release that runs there."""
        return tuple(
            Pointer(self.target, one.release_id, one.manifest_sha256, replaces=current.release_id)
            for one in self.releases
            if one.release_id != current.release_id
        )

    @classmethod
    def _read(cls, members: JsonObject) -> Trials:
        releases = tuple(one.read(TrialRelease) for one in members.nested_list("releases"))
        return members.read(cls, releases=releases)


def trials_path(target: str) -> str:
    """The name under which a target's trials are signed: `targets/<target>/trials.json`."""
    return f"targets/{check_name('target', target)}/trials.json"
