"""The signed list of what there is, and the one way to change it.

A change writes new targets and snapshot metadata under names that nobody has taken, and then the timestamp, by a write
on condition that it is still the one that the change started from. Before that write nothing has changed for anybody.
Versions grow, and may have gaps: a publisher that was killed leaves metadata that nobody refers to.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Signed, Snapshot, TargetFile, Targets, Timestamp
from tuf.repository import Repository

from infra.device.errors import ConflictError, DigestMismatchError, NotStoredError, SettingsError, UntrustedError
from infra.device.files.atomic_file import atomic_file
from infra.device.stores.object_store import ObjectStore
from infra.device.trust import METADATA
from infra.publishing.keys import LIFE, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Keys, expiry

_ATTEMPTS = 50
_MAX_BYTES = 5_000_000
_TIMESTAMP_KEY = f"{METADATA}{TIMESTAMP}.json"
KEPT_VERSIONS = 10


class _OutrunError(Exception):
    """Somebody else moved the timestamp."""


class Publisher(Repository):
    """Whoever holds the keys and may write to the store.

    `open` and `close` are what `tuf.repository.Repository` edits by.
    """

    def __init__(self, store: ObjectStore, keys: Keys) -> None:
        self.store = store
        self.keys = keys
        self._metadata: dict[str, Metadata[Any]] = {}
        self._infos: dict[str, MetaFile] = {}
        self._etag: str | None = None

    def signed(self, path: str) -> TargetFile | None:
        """What is signed under a name now; None for nothing.

        Raises:
            UntrustedError: what the store holds is not signed by these keys, or is older than what they signed.
        """
        self._load([self.keys.root])
        return self.targets().targets.get(path)

    def read(self, path: str) -> bytes:
        """The signed content of a target of TUF.

        Raises:
            NotStoredError: nothing of this name is signed, or its object is missing.
            DigestMismatchError: the object is not what was signed.
        """
        signed = self.signed(path)
        if signed is None:
            raise NotStoredError(f"{path} in {self.store.url}: nothing is signed under this name")
        return self.content(signed)

    def content(self, signed: TargetFile) -> bytes:
        """The bytes of a target of TUF, verified; raises what `read` raises."""
        data = self.store.get(stored_key(signed), max_bytes=signed.length)
        try:
            signed.verify_length_and_hashes(data)
        except RepositoryError as error:
            raise DigestMismatchError(f"{signed.path} in {self.store.url}: {error}") from error
        return data

    def put(self, path: str, data: bytes) -> TargetFile:
        """Writes an object that a following change may sign under this name."""
        target = TargetFile.from_data(path, data, ["sha256"])
        try:
            self.store.put(stored_key(target), data, if_absent=True)
        except ConflictError:
            self.content(target)
        return target

    def change(self, edit: Callable[[Targets], bool]) -> None:
        """Changes what is signed, whole or not at all.

        Args:
            edit: makes the change and says whether there is one. It is called again on what others have signed in the
                meantime, and raises where the two do not go together.

        Raises:
            ConflictError: others were always first.
            UntrustedError: as `signed`.
        """
        self._attempt(lambda: self._edit(edit))

    def renew(self) -> None:
        """Signs the timestamp for another week, and snapshot and targets where half their time is over."""
        self._attempt(self._sign_anew)

    def publish_root(self, root: Metadata[Root]) -> None:
        """Makes a new version of the root known, then signs everything by its keys.

        Raises:
            ConflictError: the store has another root of this version.
            UntrustedError: what the store holds is signed by neither the old root's keys nor the new one's.
        """
        before = self.keys.root
        self.keys.keep_root(root)
        self._attempt(lambda: self._sign_anew(all_roles=True), [root, before])

    def sweep(self) -> list[str]:
        """Removes metadata that is far behind what is signed now, and returns its keys."""
        self._load([self.keys.root])
        newest = {TARGETS: self.targets().version, SNAPSHOT: self.snapshot().version}
        swept = []
        for key in self.store.list(METADATA):
            version, _, role = key[len(METADATA) :].removesuffix(".json").partition(".")
            if role in newest and version.isdigit() and int(version) < newest[role] - KEPT_VERSIONS:
                self.store.delete(key)
                swept.append(key)
        return swept

    def open(self, role: str) -> Metadata[Any]:
        """What was loaded last."""
        return self.keys.root if role == ROOT else self._metadata[role]

    def close(self, role: str, md: Metadata[Any]) -> None:
        """Signs and writes one role; the timestamp on condition that nobody has moved it."""
        signer = self.keys.signer(role)
        md.signed.expires = expiry(role)
        while True:
            md.signed.version += 1
            md.sign(signer)
            data = md.to_bytes()
            if role == TIMESTAMP:
                self._commit(data)
                return
            try:
                self.store.put(f"{METADATA}{md.signed.version}.{role}.json", data, if_absent=True)
            except ConflictError:  # of another publisher, who is at work or was killed
                continue
            self._infos[role] = MetaFile.from_data(md.signed.version, data, ["sha256"])
            return

    @property
    def targets_infos(self) -> dict[str, MetaFile]:
        """What a snapshot says of the targets."""
        return {"targets.json": self._infos[TARGETS]}

    @property
    def snapshot_info(self) -> MetaFile:
        """What a timestamp says of the snapshot."""
        return self._infos[SNAPSHOT]

    def _edit(self, edit: Callable[[Targets], bool]) -> None:
        metadata = self.open(TARGETS)
        if edit(metadata.signed):
            self.close(TARGETS, metadata)
            self.do_snapshot()
            self.do_timestamp()

    def _sign_anew(self, all_roles: bool = False) -> None:
        old = {role for role in (TARGETS, SNAPSHOT) if all_roles or _is_half_over(self.open(role).signed)}
        if TARGETS in old:
            self.close(TARGETS, self.open(TARGETS))
        self.do_snapshot(force=bool(old))
        self.do_timestamp(force=True)

    def _attempt(self, step: Callable[[], None], roots: Sequence[Metadata[Root]] | None = None) -> None:
        for _ in range(_ATTEMPTS):
            self._load(roots or [self.keys.root])
            try:
                return step()
            except _OutrunError:
                continue
        raise ConflictError(f"{_TIMESTAMP_KEY} in {self.store.url}: others were first {_ATTEMPTS} times; try again")

    def _commit(self, data: bytes) -> None:
        try:
            if self._etag is None:
                self.store.put(_TIMESTAMP_KEY, data, if_absent=True)
            else:
                self.store.put(_TIMESTAMP_KEY, data, if_match=self._etag)
        except ConflictError as error:
            # A write whose answer was lost is repeated by the client and then conflicts with itself.
            if self.store.get(_TIMESTAMP_KEY, max_bytes=_MAX_BYTES) != data:
                raise _OutrunError from error
        self._remember(Metadata[Timestamp].from_bytes(data).signed.version)

    def _load(self, roots: Sequence[Metadata[Root]]) -> None:
        """Reads what is signed now; expired metadata too, since this is who signs it anew.

        Args:
            roots: whose keys are believed, any of them.
        """
        self._publish_roots()
        remembered = self._remembered()
        try:
            data, self._etag = self.store.get_with_etag(_TIMESTAMP_KEY, max_bytes=_MAX_BYTES)
        except NotStoredError as error:
            if remembered:
                raise UntrustedError(
                    f"{_TIMESTAMP_KEY} in {self.store.url}: got none, wanted version {remembered} or later, which "
                    "these keys have signed"
                ) from error
            self._begin()
            return
        timestamp = self._verified(Timestamp, data, roots)
        if timestamp.signed.version < remembered:
            raise UntrustedError(
                f"{_TIMESTAMP_KEY} in {self.store.url}: got version {timestamp.signed.version}, wanted {remembered} or "
                "later, which these keys have signed: somebody put an earlier state back"
            )
        snapshot = self._referred(Snapshot, timestamp.signed.snapshot_meta, roots)
        targets = self._referred(Targets, snapshot.signed.meta["targets.json"], roots)
        self._metadata = {TIMESTAMP: timestamp, SNAPSHOT: snapshot, TARGETS: targets}
        self._infos = {SNAPSHOT: timestamp.signed.snapshot_meta, TARGETS: snapshot.signed.meta["targets.json"]}

    def _begin(self) -> None:
        """Nothing was ever signed here."""
        self._etag = None
        fresh: dict[str, Signed] = {TIMESTAMP: Timestamp(), SNAPSHOT: Snapshot(), TARGETS: Targets()}
        self._metadata = {role: Metadata(signed) for role, signed in fresh.items()}
        self._infos = {role: MetaFile(1) for role in (SNAPSHOT, TARGETS)}

    def _referred(self, kind: type[Any], info: MetaFile, roots: Sequence[Metadata[Root]]) -> Metadata[Any]:
        key = f"{METADATA}{info.version}.{kind.type}.json"
        data = self.store.get(key, max_bytes=_MAX_BYTES)
        try:
            info.verify_length_and_hashes(data)
        except RepositoryError as error:
            raise UntrustedError(f"{key} in {self.store.url}: {error}") from error
        return self._verified(kind, data, roots)

    def _verified(self, kind: type[Any], data: bytes, roots: Sequence[Metadata[Root]]) -> Metadata[Any]:
        where = f"{kind.type} in {self.store.url}"
        try:
            metadata: Metadata[Any] = Metadata.from_bytes(data)
            if metadata.signed.type != kind.type:
                raise ValueError(f"metadata of {metadata.signed.type}")
        except (RepositoryError, ValueError) as error:
            raise UntrustedError(f"{where}: got no metadata of TUF: {error}") from error
        for root in roots:
            try:
                root.signed.verify_delegate(kind.type, metadata.signed_bytes, metadata.signatures)
            except RepositoryError as error:
                problem = error
            else:
                return metadata
        raise UntrustedError(f"{where}: {problem}") from problem

    def _publish_roots(self) -> None:
        """Versions of the root that the store has not yet; the first publication and a killed rotation need it."""

        def is_missing(root: Metadata[Root]) -> bool:
            return not self.store.exists(f"{METADATA}{root.signed.version}.{ROOT}.json")

        missing = list(takewhile(is_missing, reversed(self.keys.roots())))
        for root in reversed(missing):
            key, data = f"{METADATA}{root.signed.version}.{ROOT}.json", root.to_bytes()
            try:
                self.store.put(key, data, if_absent=True)
            except ConflictError as error:
                if self.store.get(key, max_bytes=_MAX_BYTES) != data:
                    raise ConflictError(f"{key} in {self.store.url}: another root of this version is there") from error

    def _remembered(self) -> int:
        path = self.keys.folder / "signed.json"
        try:
            return int(json.loads(path.read_text()).get(self.store.address, 0)) if path.exists() else 0
        except (ValueError, TypeError, AttributeError) as error:
            raise SettingsError(f"{path}: got no record of what was signed: {error}") from error

    def _remember(self, version: int) -> None:
        path = self.keys.folder / "signed.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        with atomic_file(path) as file:
            file.write(json.dumps({**known, self.store.address: version}).encode())


def stored_key(target: TargetFile) -> str:
    """Where TUF puts an object: its SHA-256 before the name."""
    folder, slash, name = target.path.rpartition("/")
    return f"{folder}{slash}{target.hashes['sha256']}.{name}"


def _is_half_over(signed: Signed) -> bool:
    return signed.expires - datetime.now(UTC) < LIFE[signed.type] / 2
