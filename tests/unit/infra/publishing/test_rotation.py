"""New keys and new roots: interrupted anywhere, taken up again, and against stores that others wrote to."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Targets

from infra.device.errors import (
    ConflictError,
    DiskFullError,
    InfraError,
    SettingsError,
    StoreUnavailableError,
    UntrustedError,
)
from infra.device.stores.folder_store import FolderStore
from infra.device.trust import Trust
from infra.publishing import keys as keys_module
from infra.publishing import signed_memory
from infra.publishing.keys import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Keys, development_keys, new_keys, sign_root
from infra.publishing.repository import Publisher
from tasks.cli import main
from tests.signing import trust_of

PATH, DATA = "targets/cpu-fp32/current.json", b"{}"
TIMESTAMP_KEY = "tuf/timestamp.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of all four keys."""
    return development_keys(tmp_path / "keys").folder


@pytest.fixture
def own(tmp_path: Path, folder: Path) -> FolderStore:
    """A store in which these keys have signed one object."""
    store = FolderStore(tmp_path / "own")
    publisher = Publisher(store, Keys(folder))
    signed = publisher.put(PATH, DATA)
    publisher.change(lambda targets: targets.targets.update({PATH: signed}) is None)
    return store


class _FailingStore(FolderStore):
    """Takes so many writes."""

    def __init__(self, folder: Path, writes: int) -> None:
        super().__init__(folder)
        self.left = writes

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        if self.left == 0:
            raise StoreUnavailableError("the cable is out")
        self.left -= 1
        return super().put(key, data, if_absent=if_absent, if_match=if_match)


def rotate(store: FolderStore, folder: Path, role: str | None) -> None:
    """What `modnet keys rotate` and `sign` do."""
    with Keys(folder).locked():
        publisher = Publisher(store, Keys(folder))
        publisher.require_signed()
        publisher.publish_root(sign_root(publisher.keys, folder, role))
        if role is not None:
            keys_module.finish_rotation(folder, role)


@pytest.mark.parametrize("role", [ROOT, TARGETS, SNAPSHOT, TIMESTAMP])
@pytest.mark.parametrize("writes", range(5))
def test_a_rotation_that_lost_the_store_goes_on_by_the_same_command(
    own: FolderStore, folder: Path, tmp_path: Path, role: str, writes: int
) -> None:
    first_root = (folder / "root.json").read_bytes()
    device = Trust(own, first_root, tmp_path / "device")
    device.refresh()
    failing = _FailingStore(own.folder, writes)
    try:
        rotate(failing, folder, role)
    except StoreUnavailableError:
        with pytest.raises(StoreUnavailableError):
            rotate(_FailingStore(own.folder, 0), folder, role)
        rotate(own, folder, role)
    Publisher(own, Keys(folder)).renew()
    for trust in (device, Trust(own, first_root, tmp_path / "new")):
        trust.refresh()
        assert trust.read(PATH, max_bytes=10) == DATA
    assert Keys(folder).root.signed.version == 2
    assert list(folder.glob("*.new.pem")) == []


@pytest.mark.parametrize("role", [ROOT, TIMESTAMP])
@pytest.mark.parametrize("killed_at", ["2.root.json", "root.json", "finish"])
def test_a_rotation_that_was_killed_between_two_files_loses_no_key(
    own: FolderStore, folder: Path, monkeypatch: pytest.MonkeyPatch, role: str, killed_at: str
) -> None:
    def kill(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object, **more: object) -> object:
            if str(arguments[0]).endswith(f"/{name}") or name == "finish":
                raise KeyboardInterrupt
            return real(*arguments, **more)

        return step

    with monkeypatch.context() as patched:
        if killed_at == "finish":
            patched.setattr(keys_module, "finish_rotation", kill("finish", keys_module.finish_rotation))
        else:
            patched.setattr(keys_module, "atomic_file", kill(killed_at, keys_module.atomic_file))
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                rotate(own, folder, role)
    rotate(own, folder, role)
    Publisher(own, Keys(folder)).renew()
    rotate(own, folder, role)
    trust_by(own, folder).refresh()


@pytest.mark.parametrize("file", ["timestamp.new.pem", "2.root.json", "root.json", "signed.json"])
def test_a_full_disk_at_any_write_is_said_and_the_same_command_goes_on(
    own: FolderStore, folder: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    def refuse(real: Callable[..., AbstractContextManager[object]]) -> Callable[..., AbstractContextManager[object]]:
        def written(path: Path, *more: object) -> AbstractContextManager[object]:
            if path.name == file:
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
            return real(path, *more)

        return written

    with monkeypatch.context() as patched:
        for module in (keys_module, signed_memory):
            patched.setattr(module, "atomic_file", refuse(module.atomic_file))
        with pytest.raises(DiskFullError, match=rf"{re.escape(file)}.*no room to write"):
            rotate(own, folder, TIMESTAMP)
    rotate(own, folder, TIMESTAMP)
    trust_by(own, folder).refresh()


def trust_by(store: FolderStore, folder: Path) -> Trust:
    return Trust(store, (folder / "1.root.json").read_bytes(), folder / "trust")


def test_another_rotation_waits_for_one_that_is_not_finished(own: FolderStore, folder: Path) -> None:
    with pytest.raises(StoreUnavailableError):
        rotate(_FailingStore(own.folder, 0), folder, TARGETS)
    with pytest.raises(SettingsError, match="first `modnet keys rotate targets` again"):
        rotate(own, folder, SNAPSHOT)
    rotate(own, folder, TARGETS)
    rotate(own, folder, SNAPSHOT)
    trust_by(own, folder).refresh()


def test_two_commands_do_not_change_keys_at_once(own: FolderStore, folder: Path) -> None:
    with Keys(folder).locked(), pytest.raises(SettingsError, match="another command changes these keys"):
        rotate(own, folder, TARGETS)


def test_keys_are_not_changed_for_a_store_that_they_never_signed(
    own: FolderStore, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a shell without MODNET_STORE."""
    monkeypatch.chdir(tmp_path)
    for name in ("MODNET_STORE", "MODNET_KEYS"):
        monkeypatch.delenv(name, raising=False)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main(["keys", "rotate", "targets", "--keys", str(folder), "--root-folder", str(folder)]) == 3
    assert "nothing was ever signed, wanted that of the releases: set MODNET_STORE" in capsys.readouterr().err
    assert {name: data for name, data in before.items() if (folder / name).read_bytes() != data} == {}
    rotate(own, folder, TARGETS)


def test_reading_writes_nothing_into_anybodys_store(own: FolderStore, folder: Path, tmp_path: Path) -> None:
    others = development_keys(tmp_path / "others")
    other = FolderStore(tmp_path / "other")
    Publisher(other, others).change(lambda targets: True)
    with pytest.raises(UntrustedError):
        Publisher(other, Keys(folder)).signed(PATH)
    for _ in range(2):
        rotate(own, folder, TARGETS)
    with pytest.raises(InfraError):
        Publisher(other, Keys(folder)).signed(PATH)
    assert [key for key in other.list("tuf/") if "root" in key] == ["tuf/1.root.json"]
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize("version", [1, 2])
def test_a_root_that_somebody_put_there_is_named_and_nothing_is_signed(
    own: FolderStore, folder: Path, version: int
) -> None:
    own.put(f"tuf/{version}.root.json", b"junk")
    before = own.get(TIMESTAMP_KEY)
    with pytest.raises(ConflictError, match=rf"tuf/{version}\.root\.json"):
        Publisher(own, Keys(folder)).renew()
    with pytest.raises(ConflictError, match=rf"tuf/{version}\.root\.json"):
        rotate(own, folder, None)
    assert own.get(TIMESTAMP_KEY) == before


def test_delegations_of_a_thief_are_refused_and_end_with_the_rotation(own: FolderStore, folder: Path) -> None:
    keys = Keys(folder)
    thief = keys_module.CryptoSigner.generate_ed25519()
    role = DelegatedRole("evil", [thief.public_key.keyid], 1, terminating=False, paths=["*/*/*"])

    def plant(targets: Targets) -> bool:
        targets.delegations = Delegations({thief.public_key.keyid: thief.public_key}, {"evil": role})
        return True

    Publisher(own, keys).change(plant)
    with pytest.raises(UntrustedError, match="got delegations"):
        trust_by(own, folder).refresh()
    with pytest.raises(UntrustedError, match="got delegations, wanted none: somebody has used a key"):
        Publisher(own, keys).renew()
    rotate(own, folder, TARGETS)
    trust = trust_by(own, folder)
    trust.refresh()
    assert trust.read(PATH, max_bytes=10) == DATA


@pytest.mark.parametrize("content", [None, b"{"], ids=["gone", "cut off"])
@pytest.mark.parametrize("remembers", [True, False])
def test_a_lost_timestamp_is_a_reason_to_wait_and_is_signed_anew_when_asked(
    own: FolderStore, folder: Path, content: bytes | None, remembers: bool
) -> None:
    device = trust_by(own, folder)
    device.refresh()
    if content is None:
        own.delete(TIMESTAMP_KEY)
    else:
        own.put(TIMESTAMP_KEY, content)
    with pytest.raises(UntrustedError):
        device.refresh()
    if not remembers:
        (folder / "signed.json").unlink()
    with pytest.raises(UntrustedError, match="`modnet release renew --rebuild`"):
        Publisher(own, Keys(folder)).renew()
    Publisher(own, Keys(folder)).rebuild()
    Publisher(own, Keys(folder)).renew()
    device.refresh()
    assert device.read(PATH, max_bytes=10) == DATA


def test_rebuild_changes_nothing_where_nothing_is_lost(own: FolderStore, folder: Path) -> None:
    before = own.get(TIMESTAMP_KEY)
    Publisher(own, Keys(folder)).rebuild()
    assert own.get(TIMESTAMP_KEY) == before


def test_what_this_machine_has_seen_is_remembered_also_when_another_signed_it(
    own: FolderStore, folder: Path, tmp_path: Path
) -> None:
    before = own.get(TIMESTAMP_KEY)
    Publisher(own, Keys(folder)).renew()
    (folder / "signed.json").unlink()  # as on a second machine
    Publisher(own, Keys(folder)).signed(PATH)
    own.put(TIMESTAMP_KEY, before)
    with pytest.raises(UntrustedError, match="somebody put an earlier state back"):
        Publisher(own, Keys(folder)).signed(PATH)


def test_a_publisher_whose_clock_is_behind_signs_nothing(
    own: FolderStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "infra.publishing.repository.expiry", lambda role: datetime.now(UTC).replace(microsecond=0) - timedelta(days=3)
    )
    with pytest.raises(SettingsError, match="the clock of this machine is behind"):
        Publisher(own, Keys(folder)).renew()


def test_a_ceremony_is_not_begun_over_what_another_has_left(tmp_path: Path) -> None:
    home, away = tmp_path / "home", tmp_path / "away"
    new_keys(home, away)
    (home / "root.json").unlink()
    (home / "1.root.json").unlink()
    (away / "root.pem").unlink()
    before = (home / "targets.pem").read_bytes()
    with pytest.raises(SettingsError, match=r"targets\.pem: is there already"):
        new_keys(home, away)
    assert (home / "targets.pem").read_bytes() == before


def test_a_root_given_to_a_device_must_have_signed_itself(own: FolderStore, folder: Path, tmp_path: Path) -> None:
    root = Metadata.from_bytes((folder / "root.json").read_bytes())
    root.signatures.clear()
    for data in (root.to_bytes(), own.get(TIMESTAMP_KEY)):
        with pytest.raises(SettingsError, match=re.escape("wanted TUF's root metadata")):
            Trust(own, data, tmp_path / "trust")


def test_others_keys_are_named(own: FolderStore) -> None:
    with pytest.raises(UntrustedError, match="0/1 keys"):
        trust_of(own).refresh()
