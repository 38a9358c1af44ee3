"""The signed list of what there is, and the one way to change it.

A change writes new targets and snapshot metadata under names that nobody has taken, and then the timestamp, by a write
on condition that it is still the one that the change started from. Before that write nothing has changed for anybody.
Versions grow, and may have gaps: a publisher that was killed leaves metadata that nobody refers to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Signed, Snapshot, TargetFile, Targets, Timestamp
from tuf.repository import Repository

from infra.device.errors import ConflictError, DigestMismatchError, NotStoredError, SettingsError, UntrustedError
from infra.device.stores.object_store import ObjectStore
from infra.device.trust import METADATA
from infra.publishing.keys import LIFE, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Keys, expiry
from infra.publishing.signed_memory import SignedMemory

_ATTEMPTS = 50
_MAX_BYTES = 5_000_000
_TIMESTAMP_KEY = f"{METADATA}{TIMESTAMP}.json"
_CLOCKS_DIFFER = timedelta(hours=1)
_REBUILD = "where the releases are as you left them, `modnet release renew --rebuild`"
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
        self._memory = SignedMemory(keys.folder, store.address)

    def signed(self, path: str) -> TargetFile | None:
        """What is signed under a name now; None for nothing.

        Raises:
            UntrustedError: what the store holds is not signed by these keys, or is older than what they signed.
        """
        self.refresh()
        return self.targets().targets.get(path)

    def refresh(self) -> None:
        """Reads what is signed now, for `targets` and the like; raises what `signed` raises."""
        self._load([self.keys.root])

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

    def renew(self, *, is_needed_only: bool = False) -> None:
        """Signs the timestamp for another week, and snapshot and targets where half their time is over.

        Args:
            is_needed_only: the timestamp as well only where half its time is over.
        """
        self._attempt(lambda: self._sign_anew(is_needed_only=is_needed_only))

    def rebuild(self) -> None:
        """Signs a new timestamp where that of the store is lost, damaged or of before, for the newest snapshot of ours.

        Raises:
            UntrustedError: there is none.
        """
        with suppress(UntrustedError, NotStoredError):
            self.refresh()
            return  # nothing is lost
        self._publish_roots()
        keys = self.store.list(METADATA)
        versions = sorted((_version(key, SNAPSHOT) for key in keys), reverse=True)
        for version in versions:
            try:
                self._follow(MetaFile(version), [self.keys.root])
            except (UntrustedError, NotStoredError):
                continue
            # Nobody may know which version was the last: seconds since 1970 are more.
            newest = max(self._memory.version(), int(datetime.now(UTC).timestamp()))
            self._metadata[TIMESTAMP] = Metadata(Timestamp(newest, snapshot_meta=self._infos[SNAPSHOT]))
            self._etag = None
            self.store.delete(_TIMESTAMP_KEY)
            self.do_timestamp(force=True)
            return
        raise UntrustedError(f"{METADATA} in {self.store.url}: got no snapshot that these keys have signed, wanted one")

    def require_signed(self) -> None:
        """Refuses a store in which nothing was ever signed, before a key is changed for it.

        Raises:
            SettingsError: it is one.
        """
        if not self.store.exists(_TIMESTAMP_KEY):
            raise SettingsError(
                f"{self.store.address}: got a store in which nothing was ever signed, wanted that of the releases: set "
                "MODNET_STORE and the AWS_* variables, or publish something first"
            )

    def publish_root(self, root: Metadata[Root]) -> None:
        """Makes a new version of the root known, then signs everything by its keys.

        Whatever delegations somebody has put in with a stolen key are gone then.

        Raises:
            ConflictError: the store has another root of this version.
            UntrustedError: what the store holds is signed by neither the old root's keys nor the new one's.
        """
        self.keys.keep_root(root)
        self._attempt(lambda: self._sign_anew(all_roles=True), self.keys.roots[-2:][::-1], is_cleared=True)

    def sweep(self) -> None:
        """Removes metadata that is far behind what is signed now."""
        self.refresh()
        newest = {TARGETS: self.targets().version, SNAPSHOT: self.snapshot().version}
        for key in self.store.list(METADATA):
            for role, version in newest.items():
                if 0 < _version(key, role) < version - KEPT_VERSIONS:
                    self.store.delete(key)

    def open(self, role: str) -> Metadata[Any]:
        """What was loaded last."""
        return self.keys.root if role == ROOT else self._metadata[role]

    def close(self, role: str, md: Metadata[Any]) -> None:
        """Signs and writes one role; the timestamp on condition that nobody has moved it."""
        signer = self.keys.signer(role)
        before, md.signed.expires = md.signed.expires, expiry(role)
        if md.signatures and md.signed.expires < before - _CLOCKS_DIFFER:
            raise SettingsError(
                f"{role}: got an end at {md.signed.expires}, wanted one after {before}, until when it is signed "
                "already: the clock of this machine is behind"
            )
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

    def _sign_anew(self, *, all_roles: bool = False, is_needed_only: bool = False) -> None:
        old = {role for role in (TARGETS, SNAPSHOT) if all_roles or _is_half_over(self.open(role).signed)}
        if is_needed_only and not old and not _is_half_over(self.open(TIMESTAMP).signed):
            return
        if TARGETS in old:
            self.close(TARGETS, self.open(TARGETS))
        self.do_snapshot(force=bool(old))
        self.do_timestamp(force=True)

    def _attempt(
        self, step: Callable[[], None], roots: Sequence[Metadata[Root]] | None = None, *, is_cleared: bool = False
    ) -> None:
        self._publish_roots()
        for _ in range(_ATTEMPTS):
            self._load(roots or [self.keys.root], is_cleared=is_cleared)
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
        self._memory.keep(Metadata[Timestamp].from_bytes(data).signed.version)

    def _load(self, roots: Sequence[Metadata[Root]], *, is_cleared: bool = False) -> None:
        """Reads what is signed now; expired metadata too, since this is who signs it anew.

        Args:
            roots: whose keys are believed, any of them.
            is_cleared: delegations are left out instead of refused.
        """
        remembered = self._memory.version()
        where = f"{_TIMESTAMP_KEY} in {self.store.url}"
        try:
            data, self._etag = self.store.get_with_etag(_TIMESTAMP_KEY, max_bytes=_MAX_BYTES)
        except NotStoredError as error:
            if remembered or any(_version(key, SNAPSHOT) for key in self.store.list(METADATA)):
                raise UntrustedError(
                    f"{where}: got none, wanted version {max(remembered, 1)} or later: somebody removed it; {_REBUILD}"
                ) from error
            self._begin()
            return
        try:
            timestamp = self._verified(Timestamp, data, roots)
        except UntrustedError as error:
            raise UntrustedError(f"{error}; if these are the right keys, {_REBUILD}") from error
        if timestamp.signed.version < remembered:
            raise UntrustedError(
                f"{where}: got version {timestamp.signed.version}, wanted {remembered} or later, which this "
                f"machine has seen: somebody put an earlier state back; {_REBUILD}"
            )
        self._follow(timestamp.signed.snapshot_meta, roots, is_cleared=is_cleared)
        self._metadata[TIMESTAMP] = timestamp
        self._memory.keep(timestamp.signed.version)

    def _follow(self, info: MetaFile, roots: Sequence[Metadata[Root]], *, is_cleared: bool = False) -> None:
        """Reads a snapshot and the targets that it names."""
        snapshot, info = self._referred(Snapshot, info, roots)
        targets, targets_info = self._referred(Targets, snapshot.signed.meta["targets.json"], roots)
        if is_cleared:
            targets.signed.delegations = None
            snapshot.signed.meta = {"targets.json": targets_info}
        elif targets.signed.delegations is not None or set(snapshot.signed.meta) != {"targets.json"}:
            raise UntrustedError(
                f"targets in {self.store.url}: got delegations, wanted none: somebody has used a key that signs here; "
                "rotate the keys (docs/keys.md)"
            )
        self._metadata |= {SNAPSHOT: snapshot, TARGETS: targets}
        self._infos = {SNAPSHOT: info, TARGETS: targets_info}

    def _begin(self) -> None:
        """Nothing was ever signed here."""
        self._etag = None
        fresh: dict[str, Signed] = {TIMESTAMP: Timestamp(), SNAPSHOT: Snapshot(), TARGETS: Targets()}
        self._metadata = {role: Metadata(signed) for role, signed in fresh.items()}
        self._infos = {role: MetaFile(1) for role in (SNAPSHOT, TARGETS)}

    def _referred(
        self, kind: type[Any], info: MetaFile, roots: Sequence[Metadata[Root]]
    ) -> tuple[Metadata[Any], MetaFile]:
        key = f"{METADATA}{info.version}.{kind.type}.json"
        data = self.store.get(key, max_bytes=_MAX_BYTES)
        try:
            info.verify_length_and_hashes(data)
        except RepositoryError as error:
            raise UntrustedError(f"{key} in {self.store.url}: {error}") from error
        return self._verified(kind, data, roots), MetaFile.from_data(info.version, data, ["sha256"])

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
        """Puts versions of the root that the store has not yet: at the first publication, and when one is new.

        Raises:
            ConflictError: the store has a root that these keys do not know, or another one of the same version.
        """
        known = {root.signed.version: root.to_bytes() for root in self.keys.roots}
        newest = max((_version(key, ROOT) for key in self.store.list(METADATA)), default=0)
        where = f"{METADATA}{newest}.{ROOT}.json in {self.store.url}"
        if newest > max(known):
            raise ConflictError(
                f"{where}: got version {newest}, and {self.keys.folder} knows {max(known)} only: copy the folder from "
                "where keys were changed, or remove the object where nobody has changed them"
            )
        if newest in known and self.store.get(f"{METADATA}{newest}.{ROOT}.json", max_bytes=_MAX_BYTES) != known[newest]:
            raise ConflictError(f"{where}: is another root than {newest}.root.json of {self.keys.folder}")
        for version in sorted(version for version in known if version > newest):
            self.store.put(f"{METADATA}{version}.{ROOT}.json", known[version], if_absent=True)


def _version(key: str, role: str) -> int:
    """Of a role's metadata by its key; 0 of anything else."""
    found = re.fullmatch(rf"{METADATA}([0-9]{{1,18}})\.{role}\.json", key)
    return 0 if found is None else int(found[1])


def stored_key(target: TargetFile) -> str:
    """Where TUF puts an object: its SHA-256 before the name."""
    folder, slash, name = target.path.rpartition("/")
    return f"{folder}{slash}{target.hashes['sha256']}.{name}"


def _is_half_over(signed: Signed) -> bool:
    return signed.expires - datetime.now(UTC) < LIFE[signed.type] / 2
