"""Keys that sign, and the root that says which they are.

A folder of keys holds `root.json`, earlier versions of it as `<version>.root.json`, and `<role>.pem` of the roles
targets, snapshot and timestamp: Ed25519, PKCS 8. `root.pem` belongs into a folder of its own, away from this machine.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from infra.device.errors import SettingsError
from infra.device.files.atomic_file import atomic_file
from infra.device.files.local_errors import local_errors
from infra.device.trust import MAX_ROOT_BYTES

ROOT, TARGETS, SNAPSHOT, TIMESTAMP = Root.type, Targets.type, Snapshot.type, Timestamp.type
ONLINE = (TARGETS, SNAPSHOT, TIMESTAMP)
LIFE = {ROOT: timedelta(days=365), TARGETS: timedelta(days=90), SNAPSHOT: timedelta(days=90), TIMESTAMP: timedelta(7)}
_OTHERS_MAY = stat.S_IRWXG | stat.S_IRWXO
_MAX_KEY_BYTES = 10_000


def expiry(role: str) -> datetime:
    """When what is signed now for this role stops to count; whole seconds, as TUF wants."""
    return (datetime.now(UTC) + LIFE[role]).replace(microsecond=0)


class Keys:
    """A folder of keys: the newest root that it holds, and the signer of each role.

    Raises:
        SettingsError: there is no such folder, or a root in it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        found = [_read_root(folder / "root.json"), *(_read_root(path) for path in folder.glob("*.root.json"))]
        by_version = {root.signed.version: root for root in found}
        self.roots = [by_version[version] for version in sorted(by_version)]
        """Every version that is known, oldest first."""

    @property
    def root(self) -> Metadata[Root]:
        """The newest root."""
        return self.roots[-1]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lets one command at a time change the folder.

        Raises:
            SettingsError: another one does.
        """
        with local_errors(str(self.folder)), open(self.folder / "lock", "wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise SettingsError(f"{self.folder}: another command changes these keys; wait for its end") from error
            yield

    def signer(self, role: str, folder: Path | None = None) -> CryptoSigner:
        """The signer of a role, from the folder itself or from another one.

        Raises:
            SettingsError: no such key file, others may read it, or it is of another kind or another key than the root
                names.
        """
        wanted = self.root.signed.roles[role].keyids
        paths = [path for path in _key_files(folder or self.folder, role) if path.exists()]
        if not paths:
            raise SettingsError(f"{(folder or self.folder) / role}.pem: no such file, wanted the key that signs {role}")
        for path in paths:
            signer = read_signer(path)
            if signer.public_key.keyid in wanted:
                return signer
        raise SettingsError(
            f"{paths[0]}: got key {signer.public_key.keyid[:12]}, wanted {', '.join(key[:12] for key in wanted)}, "
            f"which {self.folder / 'root.json'} names for {role}"
        )

    def keep_root(self, root: Metadata[Root]) -> None:
        """Makes this the newest root of the folder; the numbered file counts, the other is for devices."""
        data = root.to_bytes()
        for path in (self.folder / f"{root.signed.version}.root.json", self.folder / "root.json"):
            if not path.exists() or path.read_bytes() != data:
                with local_errors(str(path)), atomic_file(path) as file:
                    file.write(data)
        if root.signed.version > self.root.signed.version:
            self.roots.append(root)


def new_keys(folder: Path, root_folder: Path) -> Keys:
    """Makes all four keys and the first root.

    Args:
        folder: of `root.json` and the three keys that sign every night.
        root_folder: of `root.pem`.

    Raises:
        SettingsError: one of them holds keys already, or cannot be written.
    """
    names = ["root.json", "1.root.json", *(f"{role}.pem" for role in ONLINE)]
    for path in (root_folder / "root.pem", *(folder / name for name in names)):
        if path.exists():
            raise SettingsError(
                f"{path}: is there already, wanted folders without keys; what an interrupted ceremony left may go"
            )
    signers = {role: CryptoSigner.generate_ed25519() for role in (ROOT, *ONLINE)}
    root = Root(expires=expiry(ROOT), consistent_snapshot=True)
    for role, signer in signers.items():
        root.add_key(signer.public_key, role)
        path = (root_folder if role == ROOT else folder) / f"{role}.pem"
        write_signer(path, signer)
        read_signer(path)  # not every medium keeps a file for its owner alone
    signed = Metadata(root)
    signed.sign(signers[ROOT])
    for name in ("1.root.json", "root.json"):
        with local_errors(str(folder / name)), atomic_file(folder / name) as file:
            file.write(signed.to_bytes())
    return Keys(folder)


def development_keys(folder: Path) -> Keys:
    """The keys of a folder, made when it is missing, the root key among them: not offline, for one machine alone."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=".keys-") as temporary:
            made = Path(temporary, "keys")
            new_keys(made, made)
            made.chmod(0o700)
            made.rename(folder)
    return Keys(folder)


def sign_root(keys: Keys, root_folder: Path, rotated: str | None = None) -> Metadata[Root]:
    """The next version of the root, for another year; with a new key for one role where `rotated` names it.

    The new key is written as `<role>.new.pem` beside the old one, and never over another. `finish_rotation` puts it in
    its place. A rotation that was interrupted goes on with the key, and the root, that it has made.

    Raises:
        SettingsError: no root key, or not the one that the root names; or the rotation of another role is unfinished.
    """
    for role in (ROOT, *ONLINE):
        if role != rotated and _key_files(root_folder if role == ROOT else keys.folder, role)[0].exists():
            raise SettingsError(f"the rotation of {role} is not finished: first `modnet keys rotate {role}` again")
    old = keys.signer(ROOT, root_folder)
    root = Metadata[Root].from_bytes(keys.root.to_bytes())
    root.signed.version += 1
    root.signed.expires = expiry(ROOT)
    signers = [old]
    if rotated is not None:
        path = _key_files(root_folder if rotated == ROOT else keys.folder, rotated)[0]
        if path.exists():
            new = read_signer(path)
            if new.public_key.keyid in keys.root.signed.roles[rotated].keyids:
                return keys.root
        else:
            new = CryptoSigner.generate_ed25519()
            write_signer(path, new)
        for keyid in list(root.signed.roles[rotated].keyids):
            root.signed.revoke_key(keyid, rotated)
        root.signed.add_key(new.public_key, rotated)
        if rotated == ROOT:
            signers.append(new)
    root.signatures.clear()
    for signer in signers:
        root.sign(signer, append=True)
    return root


def finish_rotation(folder: Path, role: str) -> None:
    """Puts the new key of a role in the place of the old one, which is gone then."""
    new, old = _key_files(folder, role)
    with local_errors(str(old)):
        os.replace(new, old)


def read_signer(path: Path) -> CryptoSigner:
    """The key in a file.

    Raises:
        SettingsError: others may read the file, or it is no Ed25519 key in PKCS 8.
    """
    with local_errors(str(path)):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & _OTHERS_MAY:
            raise SettingsError(f"{path}: got mode {mode:04o}, wanted 0600: others may use this key; chmod 600 {path}")
        with open(path, "rb") as file:
            data = file.read(_MAX_KEY_BYTES)
    try:
        key = load_pem_private_key(data, password=None)
        signer = CryptoSigner(key)
        if signer.public_key.keytype != "ed25519":
            raise ValueError(f"a key of type {signer.public_key.keytype}")
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingsError(f"{path}: got {error}, wanted an Ed25519 key in PKCS 8 without a password") from error
    return signer


def write_signer(path: Path, signer: CryptoSigner) -> None:
    """Writes a key, for its owner alone."""
    with local_errors(str(path)), atomic_file(path) as file:  # a temporary file is born with mode 0600
        file.write(signer.private_bytes)


def _key_files(folder: Path, role: str) -> tuple[Path, Path]:
    """Where a role's key is: what a rotation that was killed has left, and the usual place."""
    return folder / f"{role}.new.pem", folder / f"{role}.pem"


def _read_root(path: Path) -> Metadata[Root]:
    try:
        with local_errors(str(path)), open(path, "rb") as file:
            root = Metadata[Root].from_bytes(file.read(MAX_ROOT_BYTES))
        if not isinstance(root.signed, Root):
            raise ValueError(f"metadata of {root.signed.type}")
        root.signed.verify_delegate(ROOT, root.signed_bytes, root.signatures)
    except FileNotFoundError as error:
        raise SettingsError(
            f"{path}: no such file, wanted TUF's root metadata: `modnet keys new` makes keys and root, "
            "MODNET_KEYS names their folder"
        ) from error
    except (RepositoryError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise SettingsError(f"{path}: got no root metadata of TUF ({type(error).__name__}: {error})") from error
    return root
