"""What a device refuses of a store whose every object an attacker may write, and what it meets on its own disk."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from types import SimpleNamespace

import pytest
from tuf.api.metadata import Metadata

from infra.device.documents.manifest import manifest_path
from infra.device.documents.pointer import pointer_path
from infra.device.errors import DiskFullError, InfraError, NotStoredError, SettingsError, UntrustedError
from infra.device.releases import read_current
from infra.device.stores.folder_store import FolderStore
from infra.device.trust import Trust
from infra.publishing.keys import SNAPSHOT, TARGETS, TIMESTAMP, Keys, development_keys, finish_rotation, sign_root
from infra.publishing.releases import promote
from infra.publishing.repository import Publisher
from tests.signing import keys, publisher_of, root_file, sign, trust_of

TIMESTAMP_KEY = "tuf/timestamp.json"


def copied(store: FolderStore) -> dict[str, bytes]:
    return {key: store.get(key) for key in store.list("")}


def forged(store: FolderStore, role: str, key: str) -> None:
    """Signed by a key that the root does not name for the role."""
    metadata = Metadata.from_bytes(store.get(key))
    metadata.signed.version += 1
    metadata.sign(keys().signer(TIMESTAMP if role != TIMESTAMP else SNAPSHOT))
    store.put(key, metadata.to_bytes())


ATTACKS: dict[str, tuple[Callable[[FolderStore, dict[str, bytes]], object], str]] = {
    "forged timestamp": (lambda store, before: forged(store, TIMESTAMP, TIMESTAMP_KEY), "0/1 keys"),
    "older timestamp": (lambda store, before: store.put(TIMESTAMP_KEY, before[TIMESTAMP_KEY]), "BadVersionNumberError"),
    "everything of before": (
        lambda store, before: [store.put(key, data) for key, data in before.items()],
        "BadVersionNumberError",
    ),
    "cut off": (lambda store, before: store.put(TIMESTAMP_KEY, store.get(TIMESTAMP_KEY)[:-9]), "deserialize"),
    "no JSON object": (lambda store, before: store.put(TIMESTAMP_KEY, b"[]"), "deserialize"),
    "of a later specification": (
        lambda store, before: store.put(TIMESTAMP_KEY, store.get(TIMESTAMP_KEY).replace(b'"1.0.', b'"2.0.')),
        "deserialize",
    ),
    "huge": (lambda store, before: store.put(TIMESTAMP_KEY, b" " * 100_000), "exceeding"),
    "mixed": (
        lambda store, before: [
            store.put(key, before[max(one for one in before if one.endswith(".targets.json"))])
            for key in store.list("tuf/")
            if key.endswith(".targets.json")
        ],
        "LengthOrHashMismatchError|Observed",
    ),
}


@pytest.mark.parametrize(("attack", "words"), ATTACKS.values(), ids=ATTACKS)
def test_what_is_not_signed_or_older_is_refused_with_the_reason(
    store: FolderStore, published: str, attack: Callable[[FolderStore, dict[str, bytes]], object], words: str
) -> None:
    before = copied(store)
    promote(publisher_of(store), "cpu-fp32", published)
    trust = trust_of(store)
    trust.refresh()
    sign(store, "releases/0123456789ab/manifest.json", b"{}")  # something newer, which has to be read
    good = copied(store)
    attack(store, before)
    with pytest.raises(UntrustedError, match=words):
        trust.refresh()
    for key, data in good.items():
        store.put(key, data)
    trust.refresh()
    assert read_current(trust, "cpu-fp32").release_id == published


def test_one_who_knows_only_the_root_is_not_shown_another_signers_state(
    store: FolderStore, published: str, tmp_path: Path
) -> None:
    others = development_keys(tmp_path / "others")
    other = FolderStore(tmp_path / "other")
    sign_by = Publisher(other, others)
    sign_by.change(lambda targets: True)
    for key in other.list("tuf/"):
        if not key.endswith("root.json"):
            store.put(key, other.get(key))
    with pytest.raises(UntrustedError, match="0/1 keys"):
        trust_of(store).refresh()


@pytest.fixture
def days_off(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A function that sets this machine's clock, as tuf reads it."""

    def set_clock(days: int) -> None:
        class Off(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Off:
                return cls.fromtimestamp(datetime.now(tz).timestamp(), tz) + timedelta(days=days)

        clock = SimpleNamespace(datetime=Off, timezone=timezone)
        monkeypatch.setattr("tuf.ngclient._internal.trusted_metadata_set.datetime", clock)

    return set_clock


@pytest.mark.parametrize(("days", "role"), [(8, "timestamp"), (400, "root")])
def test_after_its_time_nothing_is_believed_and_both_sides_of_the_reason_are_said(
    store: FolderStore, published: str, days_off: Callable[[int], None], days: int, role: str
) -> None:
    days_off(days)
    with pytest.raises(UntrustedError, match=rf"{role}.* is expired; by the clock of this machine it is \d{{8}}T"):
        trust_of(store).refresh()


@pytest.mark.parametrize("days", [-2, 2])
def test_a_clock_that_is_two_days_off_changes_nothing(
    store: FolderStore, published: str, days_off: Callable[[int], None], days: int
) -> None:
    days_off(days)
    assert trust_of(store).paths("releases/") == [manifest_path(published)]


def test_nothing_signed_and_nothing_of_this_name(store: FolderStore) -> None:
    with pytest.raises(NotStoredError, match="nothing was ever signed here"):
        trust_of(store).refresh()
    sign(store, "releases/0123456789ab/manifest.json", b"{}")
    with pytest.raises(NotStoredError, match="nothing is signed under this name"):
        trust_of(store).read(pointer_path("cpu-fp32"), max_bytes=100)


@pytest.mark.parametrize("root", [b"", b"{}", b"not JSON", b'{"signed": {"_type": "timestamp"}}'])
def test_a_root_that_is_none_is_a_setting_to_mend(store: FolderStore, tmp_path: Path, root: bytes) -> None:
    with pytest.raises(SettingsError, match=r"root\.json: got .* wanted TUF's root metadata"):
        Trust(store, root, tmp_path)


def test_nothing_new_costs_one_small_read(store: FolderStore, published: str, tmp_path: Path) -> None:
    read: list[tuple[str, int]] = []

    class Counting(FolderStore):
        def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
            data = super().get(key, max_bytes=max_bytes)
            read.append((key, len(data)))
            return data

    promote(publisher_of(store), "cpu-fp32", published)
    trust = Trust(Counting(store.folder), root_file().read_bytes(), tmp_path)
    trust.refresh()
    read_current(trust, "cpu-fp32")
    read.clear()
    again = Trust(Counting(store.folder), root_file().read_bytes(), tmp_path)
    again.refresh()
    assert read_current(again, "cpu-fp32").release_id == published
    assert [key for key, _ in read] == [TIMESTAMP_KEY]
    assert sum(size for _, size in read) < 10_000


def test_what_was_verified_and_spoilt_on_this_disk_is_fetched_again(
    store: FolderStore, published: str, tmp_path: Path
) -> None:
    promote(publisher_of(store), "cpu-fp32", published)
    trust = Trust(store, root_file().read_bytes(), tmp_path / "trust")
    read_current(trust, "cpu-fp32")
    for path in (tmp_path / "trust").rglob("*"):
        if path.is_file():
            path.write_bytes(b"\0")
    again = Trust(store, root_file().read_bytes(), tmp_path / "trust")
    assert read_current(again, "cpu-fp32").release_id == published


def test_a_full_disk_is_said_and_what_was_verified_before_stays(
    store: FolderStore, published: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust = Trust(store, root_file().read_bytes(), tmp_path / "trust")
    trust.refresh()
    promote(publisher_of(store), "cpu-fp32", published)

    def refuse(*paths: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("tuf.ngclient.updater.os.replace", refuse)
        with pytest.raises(DiskFullError, match="no room to write"):
            trust.refresh()
    trust.refresh()
    assert read_current(trust, "cpu-fp32").release_id == published


def test_a_rotated_root_is_followed_and_a_stolen_old_key_is_worth_nothing(
    store: FolderStore, published: str, tmp_path: Path
) -> None:
    own = development_keys(tmp_path / "keys")
    other = FolderStore(tmp_path / "other")
    publisher = Publisher(other, own)
    target = publisher.put("targets/cpu-fp32/current.json", b"{}")

    def add(targets: object) -> bool:
        targets.targets[target.path] = target  # type: ignore[attr-defined]
        return True

    publisher.change(add)
    first_root = (own.folder / "root.json").read_bytes()
    stolen = {role: own.signer(role) for role in (TARGETS, SNAPSHOT, TIMESTAMP)}
    device = Trust(other, first_root, tmp_path / "device")
    device.refresh()
    for role in (TARGETS, SNAPSHOT, TIMESTAMP, "root"):
        publisher.publish_root(sign_root(own, own.folder, role))
        finish_rotation(own.folder, role)
    for trust in (device, Trust(other, first_root, tmp_path / "new")):
        trust.refresh()
        assert trust.read(target.path, max_bytes=10) == b"{}"
    assert Keys(own.folder).root.signed.version == 5
    metadata = Metadata.from_bytes(other.get(TIMESTAMP_KEY))
    metadata.signed.version += 1
    metadata.sign(stolen[TIMESTAMP])
    other.put(TIMESTAMP_KEY, metadata.to_bytes())
    with pytest.raises(UntrustedError, match="0/1 keys"):
        device.refresh()
    with pytest.raises(InfraError, match="0/1 keys"):
        Publisher(other, Keys(own.folder)).signed("x")


def test_the_publisher_refuses_to_build_on_an_older_state(store: FolderStore, published: str) -> None:
    before = copied(store)
    promote(publisher_of(store), "cpu-fp32", published)
    for key, data in before.items():
        store.put(key, data)
    with pytest.raises(UntrustedError, match="somebody put an earlier state back"):
        promote(publisher_of(store), "cpu-int8", published)
    store.delete(TIMESTAMP_KEY)
    with pytest.raises(UntrustedError, match=r"got none, wanted version \d+ or later"):
        promote(publisher_of(store), "cpu-fp32", published)


def test_an_expired_timestamp_is_signed_anew(store: FolderStore, published: str) -> None:
    metadata = Metadata.from_bytes(store.get(TIMESTAMP_KEY))
    metadata.signed.expires = datetime(2020, 1, 1, tzinfo=UTC)
    metadata.sign(keys().signer(TIMESTAMP))
    store.put(TIMESTAMP_KEY, metadata.to_bytes())
    with pytest.raises(UntrustedError, match="expired"):
        trust_of(store).refresh()
    publisher_of(store).renew()
    trust_of(store).refresh()
    assert json.loads(store.get(TIMESTAMP_KEY))["signed"]["version"] == metadata.signed.version + 1
