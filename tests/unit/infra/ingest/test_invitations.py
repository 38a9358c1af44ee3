"""Tokens: used once, for an hour, each for one device, and never readable on the disk."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.device.documents.grant import SECRET_DIGITS
from infra.device.errors import ContractError, SettingsError
from infra.ingest.devices import DeviceRegistry
from infra.ingest.invitations import Invitations, Place
from infra.ingest.refusal import RefusedError

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
ROOT = b'{"signed": {"_type": "root"}}' * 100
PLACE = Place("s3://modnet", "http://127.0.0.1:8333", None, ("cpu-int8",), ROOT)


@pytest.fixture
def devices(tmp_path: Path) -> DeviceRegistry:
    registry = DeviceRegistry(tmp_path / "devices.json")
    registry.add("kitchen-1")
    return registry


@pytest.fixture
def invitations(tmp_path: Path) -> Invitations:
    return Invitations(tmp_path / "invitations.json")


def _refused(invitations: Invitations, token: str, devices: DeviceRegistry, now: datetime = NOON) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        invitations.redeem(token[:SECRET_DIGITS], devices, now=now)
    return caught.value


def test_a_token_gives_the_device_its_key_and_what_signs(devices: DeviceRegistry, invitations: Invitations) -> None:
    token = invitations.add("kitchen-1", PLACE, now=NOON)
    assert token[SECRET_DIGITS:] == hashlib.sha256(ROOT).hexdigest()[:32]
    grant = invitations.redeem(token[:SECRET_DIGITS], devices, now=NOON + timedelta(minutes=59))
    assert (grant.device, grant.key_id, grant.secret) == (
        "kitchen-1",
        "device-kitchen-1",
        devices.devices()["kitchen-1"].secret,
    )
    assert (grant.store, grant.endpoint, grant.targets, grant.root) == (
        "s3://modnet",
        "http://127.0.0.1:8333",
        ("cpu-int8",),
        ROOT,
    )


def test_a_token_is_used_once(devices: DeviceRegistry, invitations: Invitations) -> None:
    token = invitations.add("kitchen-1", PLACE, now=NOON)
    invitations.redeem(token[:SECRET_DIGITS], devices, now=NOON)
    refused = _refused(invitations, token, devices, NOON + timedelta(minutes=1))
    assert (refused.status, refused.code) == (403, "used")
    assert "the token of device 'kitchen-1' was used at 20261130T120000.000000Z" in str(refused)
    assert "revoke the device" in str(refused)


def test_a_token_ends(devices: DeviceRegistry, invitations: Invitations) -> None:
    token = invitations.add("kitchen-1", PLACE, lasts=timedelta(hours=2), now=NOON)
    refused = _refused(invitations, token, devices, NOON + timedelta(hours=2, seconds=1))
    assert (refused.status, refused.code) == (403, "expired")
    assert "ended at 20261130T140000.000000Z" in str(refused)


def test_a_new_token_replaces_the_earlier_one_of_its_device_alone(
    devices: DeviceRegistry, invitations: Invitations
) -> None:
    devices.add("attic")
    attic, first = (invitations.add(name, PLACE, now=NOON) for name in ("attic", "kitchen-1"))
    second = invitations.add("kitchen-1", PLACE, now=NOON)
    assert _refused(invitations, first, devices).code == "token"
    assert invitations.redeem(second[:SECRET_DIGITS], devices, now=NOON).device == "kitchen-1"
    assert invitations.redeem(attic[:SECRET_DIGITS], devices, now=NOON).device == "attic"


@pytest.mark.parametrize(
    ("secret", "status", "code"),
    [
        ("0" * SECRET_DIGITS, 401, "token"),
        ("0" * (SECRET_DIGITS - 1), 422, "malformed"),
        ("", 422, "malformed"),
        ("\u0661" * SECRET_DIGITS, 422, "malformed"),
        ("A" * SECRET_DIGITS, 422, "malformed"),
    ],
)
def test_another_secret_is_refused(
    devices: DeviceRegistry, invitations: Invitations, secret: str, status: int, code: str
) -> None:
    invitations.add("kitchen-1", PLACE, now=NOON)
    refused = _refused(invitations, secret, devices)
    assert (refused.status, refused.code) == (status, code)


def test_a_device_that_was_revoked_since_gets_nothing(devices: DeviceRegistry, invitations: Invitations) -> None:
    token = invitations.add("kitchen-1", PLACE, now=NOON)
    devices.revoke("kitchen-1")
    assert _refused(invitations, token, devices).code == "revoked"
    devices.add("kitchen-1")
    assert invitations.redeem(token[:SECRET_DIGITS], devices, now=NOON).device == "kitchen-1"


def test_a_token_that_was_withdrawn_gives_nothing_though_its_device_comes_back(
    devices: DeviceRegistry, invitations: Invitations
) -> None:
    token = invitations.add("kitchen-1", PLACE, now=NOON)
    invitations.withdraw("kitchen-2")
    invitations.withdraw("kitchen-1")
    assert _refused(invitations, token, devices).code == "token"


def test_the_file_holds_no_secret_and_is_its_owners_alone(
    tmp_path: Path, devices: DeviceRegistry, invitations: Invitations
) -> None:
    token = invitations.add("kitchen-1", PLACE, now=NOON)
    path = tmp_path / "invitations.json"
    text = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert token[:SECRET_DIGITS] not in text
    assert devices.devices()["kitchen-1"].secret not in text
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="open to other users"):
        invitations.redeem(token[:SECRET_DIGITS], devices, now=NOON)


@pytest.mark.parametrize("name", ["кухня", "a/b", "", "x" * 129, "a b"])
def test_a_name_that_cannot_stand_in_a_key_is_refused(invitations: Invitations, name: str) -> None:
    with pytest.raises(ContractError, match="wanted 1 to 128 of A-Z a-z 0-9"):
        invitations.add(name, PLACE)


def test_a_place_that_cannot_be_written_down_is_refused_before_the_token_is_made(
    tmp_path: Path, invitations: Invitations
) -> None:
    with pytest.raises(ContractError, match="wanted ASCII characters without blanks"):
        invitations.add("kitchen-1", replace(PLACE, store="s3://модель"))
    assert not (tmp_path / "invitations.json").exists()


@pytest.mark.parametrize("spoilt", ["", "[]", '{"version": 2}', '{"version": 1, "invitations": [{}]}', "cut"])
def test_a_file_that_is_cut_off_or_malformed_is_refused(
    tmp_path: Path, devices: DeviceRegistry, invitations: Invitations, spoilt: str
) -> None:
    token = invitations.add("kitchen-1", PLACE, now=NOON)
    path = tmp_path / "invitations.json"
    path.write_text(path.read_text()[:-30] if spoilt == "cut" else spoilt)
    with pytest.raises(SettingsError, match="not a list of invitations"):
        invitations.redeem(token[:SECRET_DIGITS], devices, now=NOON)


def test_a_digest_that_is_none_is_refused(tmp_path: Path, devices: DeviceRegistry, invitations: Invitations) -> None:
    invitations.add("kitchen-1", PLACE, now=NOON)
    path = tmp_path / "invitations.json"
    content = json.loads(path.read_text())
    content["invitations"][0]["secret_sha256"] = "é" * 64
    path.write_text(json.dumps(content))
    with pytest.raises(SettingsError, match="64 lower-case hexadecimal digits"):
        invitations.redeem("0" * SECRET_DIGITS, devices, now=NOON)
