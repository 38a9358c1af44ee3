"""Tokens by which a device gets its key once: `modnet device invite` makes them, `enrol` on the device gives them back.

A token is used once, within an hour. Its secret is kept as a SHA-256. A device has one token at a time: the newest.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from infra.device.documents.checks import check_name, check_sha256, check_time, time_text
from infra.device.documents.grant import ROOT_DIGITS, SECRET_DIGITS, Grant, pieces
from infra.device.errors import ContractError, SettingsError
from infra.device.files.local_errors import local_errors
from infra.ingest.devices import DeviceRegistry
from infra.ingest.private_file import only_writer, private_stat, write_private
from infra.ingest.refusal import RefusedError

LASTS = timedelta(hours=1)
_VERSION = 1
_SECRET = re.compile(rf"[0-9a-f]{{{SECRET_DIGITS}}}")


@dataclass(frozen=True)
class Place:
    """Where a device finds releases, see `Grant`; `root` is the content of root.json."""

    store: str
    endpoint: str | None
    region: str | None
    targets: tuple[str, ...]
    root: bytes


@dataclass(frozen=True)
class Invitation:
    """One token.

    Attributes:
        device: whose key it gives.
        secret_sha256: of the first part of the token.
        ends_at: when it is worth nothing any more.
        used_at: when it was given back; None while it was not.
        store: see `Grant`, as all that follow.
    """

    device: str
    secret_sha256: str
    ends_at: str
    used_at: str | None
    store: str
    endpoint: str | None
    region: str | None
    targets: tuple[str, ...]
    root_pieces: tuple[str, ...]


class Invitations:
    """The file that holds them, beside the registry of devices; only its owner may read it. Processes may share it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, device: str, place: Place, *, lasts: timedelta = LASTS, now: datetime | None = None) -> str:
        """A token for a device, in place of its earlier one.

        Raises:
            SettingsError: the file cannot be read.
            ContractError: a target or the store is none.
        """
        secret = secrets.token_hex(SECRET_DIGITS // 2)
        invitation = Invitation(
            check_name("name of the device", device),
            _sha256(secret),
            time_text((now or datetime.now(UTC)) + lasts),
            None,
            place.store,
            place.endpoint,
            place.region,
            place.targets,
            pieces(place.root),
        )
        _grant(invitation, "unknown", "unknown")  # says now what is wrong with it
        with only_writer(self._path):
            others = [one for one in self._read() if one.device != device]
            self._write([*others, invitation])
        return secret + hashlib.sha256(place.root).hexdigest()[:ROOT_DIGITS]

    def withdraw(self, device: str) -> None:
        """Makes a device's token worthless; nothing where it has none.

        Raises:
            SettingsError: the file cannot be read.
        """
        with only_writer(self._path):
            self._write([one for one in self._read() if one.device != device])

    def redeem(self, secret: str, devices: DeviceRegistry, *, now: datetime | None = None) -> Grant:
        """What the secret of a token gives; that it was used is on the disk before this returns.

        Raises:
            RefusedError: unknown, used, too old, or the device is not known any more.
            SettingsError: a file cannot be read or written.
        """
        if not _SECRET.fullmatch(secret):
            raise RefusedError(422, "malformed", f"token: wanted {SECRET_DIGITS} of 0-9 a-f as its secret")
        wanted, time = _sha256(secret), time_text(now or datetime.now(UTC))
        with only_writer(self._path):
            invitations = self._read()
            # All of them are compared, each in the same time.
            same = [one for one in invitations if hmac.compare_digest(one.secret_sha256, wanted)]
            if not same:
                raise RefusedError(401, "token", "no such token, or a newer one has replaced it: ask for another")
            (invitation,) = same
            name = invitation.device
            if invitation.used_at is not None:
                raise RefusedError(
                    403,
                    "used",
                    f"the token of device {name!r} was used at {invitation.used_at}: ask for another, also "
                    "where its answer was lost. If nobody of yours has used it, revoke the device first",
                )
            if time > invitation.ends_at:  # of fixed width: the order of texts is that of times
                raise RefusedError(
                    403, "expired", f"the token of device {name!r} ended at {invitation.ends_at}: ask for another"
                )
            device = devices.devices().get(name)
            if device is None or device.revoked_at is not None:
                raise RefusedError(403, "revoked", f"device {name!r} was revoked since: ask for another token")
            grant = _grant(invitation, device.key_id, device.secret)
            self._write([replace(one, used_at=time) if one is invitation else one for one in invitations])
        return grant

    def _read(self) -> list[Invitation]:
        if private_stat(self._path) is None:
            return []
        with local_errors(str(self._path)):
            text = self._path.read_text(errors="replace")
        try:
            content = json.loads(text)
            if content["version"] != _VERSION:
                raise ContractError(f"got version {content['version']!r}, wanted {_VERSION}")
            found = [Invitation(**one) for one in content["invitations"]]
            for one in found:
                check_sha256("secret_sha256", one.secret_sha256)
                for time in filter(None, (one.ends_at, one.used_at)):
                    check_time(f"time of {one.device!r}", time)
                _grant(one, "unknown", "unknown")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise SettingsError(
                f"{self._path}: not a list of invitations ({type(error).__name__}: {error}); remove it, and invite anew"
            ) from error
        return found

    def _write(self, invitations: list[Invitation]) -> None:
        write_private(self._path, {"version": _VERSION, "invitations": [asdict(one) for one in invitations]})


def _grant(invitation: Invitation, key_id: str, secret: str) -> Grant:
    return Grant(
        device=invitation.device,
        store=invitation.store,
        endpoint=invitation.endpoint,
        region=invitation.region,
        key_id=key_id,
        secret=secret,
        targets=tuple(invitation.targets),
        root_pieces=tuple(invitation.root_pieces),
    )


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
