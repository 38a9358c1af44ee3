from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from infra.device.errors import ContractError, SettingsError
from infra.ingest.devices import IDENTITIES, DeviceRegistry


@pytest.fixture
def registry(tmp_path: Path) -> DeviceRegistry:
    return DeviceRegistry(tmp_path / "stack" / "devices.json")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stack" / "devices.json"


def test_a_registry_that_was_never_written_has_no_devices(registry: DeviceRegistry) -> None:
    assert registry.devices() == {}


def test_every_device_has_a_key_of_its_own_in_a_file_of_its_owner(registry: DeviceRegistry, path: Path) -> None:
    one, other = registry.add("kitchen-1"), registry.add("attic")
    assert DeviceRegistry(path).devices() == {"kitchen-1": one, "attic": other}
    assert one.secret != other.secret
    assert min(len(one.secret), len(other.secret)) >= 40
    assert (one.key_id, one.revoked_at) == ("device-kitchen-1", None)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_change_by_another_process_is_seen(registry: DeviceRegistry, path: Path) -> None:
    registry.add("kitchen-1")
    DeviceRegistry(path).revoke("kitchen-1")
    assert registry.devices()["kitchen-1"].revoked_at is not None


def test_a_revoked_device_may_come_back_by_another_key(registry: DeviceRegistry) -> None:
    before = registry.add("kitchen-1")
    with pytest.raises(SettingsError, match=f"'kitchen-1': there since {before.added_at}, wanted a new name"):
        registry.add("kitchen-1")
    revoked = registry.revoke("kitchen-1")
    assert registry.revoke("kitchen-1") == revoked
    after = registry.add("kitchen-1")
    assert after.revoked_at is None
    assert after.secret != before.secret


def test_what_is_unknown_or_no_name_is_refused(registry: DeviceRegistry) -> None:
    registry.add("kitchen-1")
    with pytest.raises(SettingsError, match=r"'attic': unknown, wanted one of \['kitchen-1'\]"):
        registry.revoke("attic")
    with pytest.raises(ContractError, match=r"got '\.\./attic', wanted"):
        registry.add("../attic")
    with pytest.raises(SettingsError, match="the key 'device-kitchen-1' is another device's"):
        registry.add("attic", ("device-kitchen-1", "secret"))


@pytest.mark.parametrize("key_id", IDENTITIES)
def test_a_key_of_the_stack_itself_is_no_devices(registry: DeviceRegistry, key_id: str) -> None:
    with pytest.raises(SettingsError, match=f"'attic': the key '{key_id}' is the stack's own"):
        registry.add("attic", (key_id, "secret"))
    assert registry.devices() == {}


WHOLE = {
    "version": 1,
    "devices": [{"name": "a", "key_id": "k", "secret": "s", "added_at": "20261129T120000.000000Z", "revoked_at": None}],
}
SPOILT = {
    "empty": "",
    "cut": json.dumps(WHOLE)[:-9],
    "list": "[]",
    "null": "null",
    "deep": "[" * 100_000,
    "version": json.dumps({**WHOLE, "version": 2}),
    "devices": json.dumps({**WHOLE, "devices": {"a": "s"}}),
    "name": json.dumps({**WHOLE, "devices": [{**WHOLE["devices"][0], "name": "a/b"}]}),  # type: ignore[index]
    "number": json.dumps({**WHOLE, "devices": [{**WHOLE["devices"][0], "name": 1}]}),  # type: ignore[index]
    "secret": json.dumps({**WHOLE, "devices": [{**WHOLE["devices"][0], "secret": ""}]}),  # type: ignore[index]
    "time": json.dumps({**WHOLE, "devices": [{**WHOLE["devices"][0], "revoked_at": "now"}]}),  # type: ignore[index]
    "more": json.dumps({**WHOLE, "devices": [{**WHOLE["devices"][0], "colour": "red"}]}),  # type: ignore[index]
}


@pytest.mark.parametrize("text", SPOILT.values(), ids=SPOILT)
def test_what_is_no_registry_is_refused_and_stays(registry: DeviceRegistry, path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    path.chmod(0o600)
    for use in (registry.devices, lambda: registry.add("b")):
        with pytest.raises(SettingsError, match=r"devices\.json: not a registry of devices"):
            use()
    assert path.read_text() == text


def test_a_registry_of_another_version_says_which_is_wanted(registry: DeviceRegistry, path: Path) -> None:
    path.parent.mkdir()
    path.write_text(SPOILT["version"])
    path.chmod(0o600)
    with pytest.raises(SettingsError, match="got version 2, wanted 1"):
        registry.devices()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_registry_that_others_may_read_is_refused(registry: DeviceRegistry, path: Path, mode: int) -> None:
    registry.add("kitchen-1")
    path.chmod(mode)
    with pytest.raises(SettingsError, match=f"mode {mode:o}, wanted 600"):
        registry.devices()


def _add(path: Path, number: int) -> None:
    for step in range(5):
        DeviceRegistry(path).add(f"device-{number}-{step}")


def test_no_device_is_lost_when_processes_race(registry: DeviceRegistry, path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_add, args=(path, number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len(registry.devices()) == 20
