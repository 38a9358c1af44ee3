"""Which devices there are: a file with the key of each, and what a key may do in the store."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from infra.device.documents.checks import check_name, check_time, utc_now
from infra.device.errors import ContractError, SettingsError
from infra.device.files.local_errors import local_errors
from infra.ingest.private_file import only_writer, private_stat, write_private

REGISTRY_VERSION = 1
READ_BY_DEVICES = ("releases/", "targets/", "tuf/")
IDENTITIES = ("pipeline", "ingest")
"""Names of keys that are no device's: of the services of a single-machine run."""


@dataclass(frozen=True)
class Device:
    """One device.

    Attributes:
        name: in reports and their keys.
        key_id: public name of its key, AWS_ACCESS_KEY_ID.
        secret: of its key, AWS_SECRET_ACCESS_KEY.
        added_at: when the key was made.
        revoked_at: since when the key is worth nothing; None while it is.
    """

    name: str
    key_id: str
    secret: str
    added_at: str
    revoked_at: str | None = None


class DeviceRegistry:
    """The file that holds the devices; only its owner may read it. Threads and processes may share it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] = ()
        self._devices: Mapping[str, Device] = {}

    def devices(self) -> Mapping[str, Device]:
        """Every device by its name, revoked ones too; read anew when the file has changed.

        Raises:
            SettingsError: it is cut off, malformed, of another version, or others may read it.
        """
        found = private_stat(self._path)
        if found is None:
            self._seen, self._devices = (), {}
            return self._devices
        seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        if seen != self._seen:
            with local_errors(str(self._path)):
                self._devices = _read(self._path)
            self._seen = seen
        return self._devices

    def add(self, name: str, key: tuple[str, str] | None = None) -> Device:
        """A new device, or a new key for one that was revoked.

        Args:
            name: of the device.
            key: id and secret that another store has given it; None makes one.

        Raises:
            SettingsError: it is there already, the key is another's, or the registry cannot be read.
            ContractError: not a name.
        """
        check_name("name of the device", name)
        with self._changing() as devices:
            if name in devices and devices[name].revoked_at is None:
                raise SettingsError(
                    f"device {name!r}: there since {devices[name].added_at}, wanted a new name; "
                    f"for another key revoke it first"
                )
            # The prefix keeps apart what devices are called and what the pipeline's own keys are called.
            key_id, secret = key or (f"device-{name}", secrets.token_urlsafe(30))
            if key_id in IDENTITIES:
                raise SettingsError(f"device {name!r}: the key {key_id!r} is the stack's own, wanted one of the device")
            if any(one.key_id == key_id for one in devices.values() if one.name != name):
                raise SettingsError(f"device {name!r}: the key {key_id!r} is another device's, wanted one of its own")
            devices[name] = Device(name, key_id, secret, utc_now())
            return devices[name]

    def revoke(self, name: str) -> Device:
        """Makes the key of a device worthless; what it has reported stays. One that was revoked before stays so.

        Raises:
            SettingsError: there is no such device, or the registry cannot be read.
        """
        with self._changing() as devices:
            if name not in devices:
                raise SettingsError(f"device {name!r}: unknown, wanted one of {sorted(devices)}")
            devices[name] = replace(devices[name], revoked_at=devices[name].revoked_at or utc_now())
            return devices[name]

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Device]]:
        """The devices, for one writer at a time; what the block leaves is written, whole or not at all."""
        with only_writer(self._path):
            devices = dict(self.devices())
            yield devices
            content = {"version": REGISTRY_VERSION, "devices": [asdict(one) for one in devices.values()]}
            write_private(self._path, content)


def _read(path: Path) -> dict[str, Device]:
    try:
        content = json.loads(path.read_text(errors="replace"))
        if content["version"] != REGISTRY_VERSION:
            raise ContractError(f"got version {content['version']!r}, wanted {REGISTRY_VERSION}")
        devices = [Device(**one) for one in content["devices"]]
        for device in devices:
            check_name("name", device.name)
            for text in (device.key_id, device.secret):
                if not (isinstance(text, str) and text):
                    raise ContractError(f"key of {device.name!r}: got {type(text).__name__}, wanted a text")
            for time in filter(None, (device.added_at, device.revoked_at)):
                check_time(f"time of {device.name!r}", time)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise SettingsError(
            f"{path}: not a registry of devices ({type(error).__name__}: {error}); bring back a copy of it, or remove "
            "it and add the devices anew"
        ) from error
    return {device.name: device for device in devices}


def device_policy(bucket: str, prefix: str = "") -> dict[str, Any]:
    """IAM policy of a device, as AWS and SeaweedFS take it: it reads what is released, and writes nothing.

    Args:
        bucket: name of the bucket.
        prefix: of every key in it, ends with a slash where it is not empty.
    """
    arn, folders = f"arn:aws:s3:::{bucket}", [f"{prefix}{folder}*" for folder in READ_BY_DEVICES]
    return policy(
        _statement("s3:GetObject", *(f"{arn}/{folder}" for folder in folders)),
        # What is not there is then told from what is refused.
        {**_statement("s3:ListBucket", arn), "Condition": {"StringLike": {"s3:prefix": folders}}},
    )


def ingest_policy(bucket: str, prefix: str = "") -> dict[str, Any]:
    """IAM policy of the ingest: it reads and writes reports, and changes nothing else."""
    arn, folder = f"arn:aws:s3:::{bucket}", f"{prefix}reports/*"
    allowed = _statement("s3:GetObject", f"{arn}/{folder}")
    allowed["Action"].append("s3:PutObject")
    return policy(allowed, {**_statement("s3:ListBucket", arn), "Condition": {"StringLike": {"s3:prefix": [folder]}}})


def pipeline_policy(bucket: str, prefix: str = "") -> dict[str, Any]:
    """IAM policy of flows and Ray's nodes: all objects below the prefix. The bucket itself they cannot change."""
    arn, keys = f"arn:aws:s3:::{bucket}", f"{prefix}*"
    allowed = _statement("s3:GetObject", f"{arn}/{keys}")
    allowed["Action"] += ["s3:PutObject", "s3:DeleteObject"]
    return policy(allowed, {**_statement("s3:ListBucket", arn), "Condition": {"StringLike": {"s3:prefix": [keys]}}})


POLICIES = {"device": device_policy, "ingest": ingest_policy, "pipeline": pipeline_policy}


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    """A policy of these statements."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _statement(action: str, *resources: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": [action], "Resource": list(resources)}
