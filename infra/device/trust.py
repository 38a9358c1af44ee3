"""What the owner of a store has signed, verified by TUF (theupdateframework.io): the only importer of tuf on a device.

Metadata is under `tuf/` in the store. Targets of TUF are manifests and pointers, stored as TUF names them: with their
SHA-256 before the file's name. tuf 5.1.0 does on Python 3.9, where later ones do not import, and 7.0.1 elsewhere.
"""

from __future__ import annotations

import fcntl
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import IO, Any

from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
)
from tuf.api.metadata import Metadata, Root, Snapshot, Targets
from tuf.ngclient import FetcherInterface, Updater

from infra.device.documents.checks import utc_now
from infra.device.errors import (
    DigestMismatchError,
    InfraError,
    NotStoredError,
    SettingsError,
    StoreUnavailableError,
    UntrustedError,
)
from infra.device.files.atomic_file import atomic_file
from infra.device.files.local_errors import local_errors
from infra.device.stores.checks import check_size
from infra.device.stores.object_store import ObjectStore

METADATA = "tuf/"
MAX_ROOT_BYTES = 512_000
_ADDRESS = "store:/"  # tuf wants URLs; behind it stands the key
_MAX_BYTES = 5_000_000  # what tuf reads of any metadata
_LOCKED_WITHIN_S = 60.0


class Trust:
    """What is signed in one store, as far as it was verified when `refresh` was last called.

    The folder remembers what was verified, so that an older state is refused. Processes may share it.
    """

    def __init__(self, store: ObjectStore, root: bytes, folder: Path) -> None:
        """Reads nothing yet.

        Args:
            store: which holds metadata and targets.
            root: TUF's root metadata, any version of it, from a source that is trusted.
            folder: for verified metadata and targets; made when it is missing.

        Raises:
            SettingsError: `root` is no root metadata.
        """
        try:
            _check_root(root)
        except (RepositoryError, ValueError) as error:
            raise SettingsError(f"root.json: got {root[:40]!r}…, wanted TUF's root metadata: {error}") from error
        self.store = store
        self._root = root
        self._folder = folder / hashlib.sha256(root).hexdigest()[:12]
        self._updater: Updater | None = None
        self._targets = Targets()

    def refresh(self) -> None:
        """Looks at the store: 404 for the next root and one small timestamp when nothing is new.

        Raises:
            UntrustedError: what the store says is forged, replayed, mixed, expired, gone or of another root.
            NotStoredError: nothing was ever signed in this store, as far as this folder knows.
            StoreUnavailableError, StoreRefusesError: as the store.
        """
        with self._locked():
            has_seen = (self._folder / "timestamp.json").exists()
            updater = self._new_updater()
            try:
                updater.refresh()
            except DownloadHTTPError as error:
                if has_seen:
                    raise UntrustedError(f"{error}: it was there before, and somebody removed it") from error
                raise
            snapshot, targets = (self._verified(role) for role in (Snapshot, Targets))
            if targets.delegations is not None or set(snapshot.meta) != {"targets.json"}:
                raise UntrustedError(f"targets in {self.store.url}: got delegations, which nobody of ours makes")
        self._updater, self._targets = updater, targets

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """The signed content of a target of TUF; fetched once.

        Raises:
            NotStoredError: nothing of this name is signed.
            DigestMismatchError: the object is not what was signed, or is missing.
            ContractError: it is larger than `max_bytes`.
        """
        if self._updater is None:
            self.refresh()
        assert self._updater is not None
        with self._locked():
            signed = self._updater.get_targetinfo(path)
            if signed is None:
                raise NotStoredError(f"{path} in {self.store.url}: nothing is signed under this name")
            check_size(path, signed.length, max_bytes)
            try:
                local = self._updater.find_cached_target(signed) or self._updater.download_target(signed)
            except (LengthOrHashMismatchError, DownloadLengthMismatchError) as error:
                raise DigestMismatchError(f"{path} in {self.store.url}: {error}") from error
            except DownloadHTTPError as error:
                raise DigestMismatchError(f"{path} in {self.store.url}: is signed, and missing: {error}") from error
            return Path(local).read_bytes()

    def paths(self, prefix: str) -> list[str]:
        """Names of all targets of TUF that start with `prefix`, sorted."""
        self.refresh()
        return sorted(path for path in self._targets.targets if path.startswith(prefix))

    def _verified(self, role: type[Any]) -> Any:
        """What tuf has just verified and kept."""
        return Metadata.from_file(str(self._folder / f"{role.type}.json")).signed

    def _new_updater(self) -> Updater:
        targets = self._folder / "targets"
        targets.mkdir(exist_ok=True)
        folder, fetcher = str(self._folder), _Fetcher(self.store)
        arguments = (folder, _ADDRESS + METADATA, str(targets), _ADDRESS, fetcher)
        if "bootstrap" in signature(Updater).parameters:
            return Updater(*arguments, bootstrap=self._root)
        kept = self._folder / "root.json"  # tuf 5 starts from it, and goes on writing it
        try:
            _check_root(kept.read_bytes())
        except (OSError, RepositoryError, ValueError):
            with atomic_file(kept) as file:
                file.write(self._root)
        return Updater(*arguments)  # type: ignore[call-arg]  # of tuf 5; types are those of the tuf that is here

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lets one process at a time into the folder, and says in our words what tuf refuses."""
        where = f"{METADATA} in {self.store.url}"
        with local_errors(str(self._folder)):
            self._folder.mkdir(parents=True, exist_ok=True)
            with open(self._folder / "lock", "wb") as lock:
                _wait_for(lock, self._folder)
                try:
                    yield
                except InfraError:
                    raise
                except DownloadHTTPError as error:
                    raise NotStoredError(
                        f"{self.store.url}: nothing was ever signed here; publish a release, or name another store"
                    ) from error
                except DownloadError as error:
                    if isinstance(error.__cause__, InfraError):
                        raise error.__cause__ from error
                    raise UntrustedError(f"{where}: {error}") from error
                except ExpiredMetadataError as error:
                    raise UntrustedError(
                        f"{where}: {error}; by the clock of this machine it is {utc_now()}. Either that is wrong, or "
                        "nobody has signed this store anew, or somebody holds back what is new"
                    ) from error
                except (RepositoryError, ValueError) as error:
                    raise UntrustedError(f"{where}: {type(error).__name__}: {error}") from error


class _Fetcher(FetcherInterface):
    """Lets tuf read the store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def _fetch(self, url: str) -> Iterator[bytes]:
        key = url[len(_ADDRESS) :]
        try:
            return iter([self._store.get(key, max_bytes=_MAX_BYTES)])
        except NotStoredError as error:
            raise DownloadHTTPError(str(error), 404) from error


def _check_root(data: bytes) -> None:
    """Refuses what is no root that has signed itself."""
    root: Metadata[Any] = Metadata.from_bytes(data)
    if not isinstance(root.signed, Root):
        raise ValueError(f"metadata of {root.signed.type}")
    root.signed.verify_delegate(Root.type, root.signed_bytes, root.signatures)


def _wait_for(lock: IO[bytes], folder: Path) -> None:
    deadline = time.monotonic() + _LOCKED_WITHIN_S
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise StoreUnavailableError(
                    f"{folder}: another process has held it for {_LOCKED_WITHIN_S:g} s, as while the store hangs"
                ) from error
        time.sleep(0.05)
