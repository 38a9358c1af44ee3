"""`modnet release …` and `modnet keys …` on a folder store."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.device.stores.folder_store import FolderStore
from infra.publishing.repository import Publisher
from modnet.records import Decision
from tasks.cli import device_pins, main
from tasks.stored import get_record
from tests.signing import keys, trust_of
from tests.unit.infra.exported import three_releases

Ran = Callable[..., tuple[int, str, str]]


@pytest.fixture
def store(own_store: FolderStore) -> FolderStore:
    return own_store


@pytest.fixture
def releases(store: FolderStore, tmp_path: Path) -> list[str]:
    """Three releases, the oldest first."""
    return three_releases(store, tmp_path)


@pytest.fixture
def ran(capsys: pytest.CaptureFixture[str]) -> Ran:
    """A function that types words after `modnet` and gives exit code, output and errors."""

    def run(*words: str) -> tuple[int, str, str]:
        code = main(list(words))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_a_release_is_promoted_rolled_back_and_retired_by_hand(ran: Ran, releases: list[str]) -> None:
    first, second, third = releases
    assert ran("release", "promote", first)[:2] == (
        0,
        f"cpu-fp32: runs {first}, before nothing\ncpu-int8: runs {first}, before nothing\n",
    )
    assert ran("release", "promote", second, "--targets", "cpu-int8")[1] == f"cpu-int8: runs {second}, before {first}\n"
    listed = json.loads(ran("release", "list", "--json")[1])["releases"]
    assert [one["release"] for one in listed] == [third, second, first]
    assert [one["runs on"] for one in listed] == ["none", "cpu-int8", "cpu-fp32"]
    assert second in ran("release", "list")[1]
    assert ran("release", "roll-back", "cpu-int8")[1] == f"cpu-int8: runs {first} again, instead of {second}\n"
    code, _, said = ran("release", "retire", first)
    assert (code, f"release {first} is kept: target cpu-int8 runs it" in said) == (1, True)
    assert ran("release", "retire", third)[0] == 0
    assert json.loads(ran("release", "retain", "--last", "1", "--json")[1]) == {"retired": [], "swept": []}


def test_a_share_of_the_devices_gets_a_release(ran: Ran, releases: list[str]) -> None:
    first, second, _ = releases
    words = ("release", "promote", second, "--targets", "cpu-int8", "--share", "0.2")
    code, _, said = ran(*words)
    assert (code, "got a share of 0.2, wanted 1: there is no other release" in said) == (3, True)
    ran("release", "promote", first)
    assert ran(*words)[1] == f"cpu-int8: 20 % of its devices run {second}, the others {first}\n"
    assert ran("device", "pin", "kitchen", "cpu-fp32", second)[0] == 0
    listed = json.loads(ran("release", "list", "--json")[1])
    on = {one["release"]: one["runs on"] for one in listed["releases"]}
    assert on[first] == "cpu-fp32, cpu-int8 (80 %)"
    assert on[second] == "kitchen (cpu-fp32), cpu-int8 (20 %)"
    whole, moved = listed["targets"]
    assert (whole["target"], whole["pins"]) == ("cpu-fp32", {"kitchen": second})
    assert (moved["release_id"], moved["former"], moved["share"]) == (second, first, 0.2)
    told = ran("release", "list")[1]
    assert f"20 % of the devices run it, the others {first}" in told
    assert f"kitchen to {second}" in told
    shown = ran("release", "show", second)[1]
    assert f"this release on 20 % of the devices, {first} on the others" in shown
    assert json.loads(ran("release", "show", second, "--json")[1])["running"]["cpu-int8"] == second
    assert ran("release", "roll-back", "cpu-int8")[1] == f"cpu-int8: runs {first} again, instead of {second}\n"
    assert f"the rollout of release {second} was stopped at 20" in ran("release", "list")[1]
    code, _, said = ran(*words)
    assert (code, "was stopped at 20" in said) == (1, True)
    assert ran(*words, "--force")[0] == 0


def test_what_a_person_has_done_is_kept_as_decisions(ran: Ran, store: FolderStore, releases: list[str]) -> None:
    first, second, _ = releases
    ran("release", "promote", first, "--targets", "cpu-int8")
    ran("release", "promote", second, "--targets", "cpu-int8", "--share", "0.2")
    ran("release", "roll-back", "cpu-int8")
    ran("device", "pin", "kitchen", "cpu-int8", second)
    found = [get_record(store, key, Decision) for key in store.list("decisions/cpu-int8/")]
    assert [(one.kind, one.before, one.after, one.words) for one in found] == [
        ("first", None, first, f"cpu-int8 runs release {first}, as was asked, without a comparison"),
        ("promoted", first, second, f"20 % of cpu-int8 runs release {second}, as was asked, without a comparison"),
        ("rolled back", second, first, f"cpu-int8 runs release {first} again, instead of {second}, as was asked"),
        ("pinned", first, first, f"device kitchen runs release {second}, whatever cpu-int8 runs"),
    ]
    assert {one.by for one in found} == {"a person"}


@pytest.mark.parametrize("share", ["0", "1.5", "-0.1", "nan", "half", "20%"])
def test_what_is_no_share_is_refused(ran: Ran, share: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        ran("release", "promote", "0" * 12, f"--share={share}")
    assert ended.value.code == 2
    assert "wanted a number above 0, at most 1" in capsys.readouterr().err


def test_a_device_is_pinned_by_its_name(
    ran: Ran, releases: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A store in a folder has no keys of devices; elsewhere the device must have one."""
    first = releases[0]
    code, out, _ = ran("device", "pin", "kitchen", "cpu-int8", first)
    assert (code, out) == (0, f"device: kitchen runs {first} as cpu-int8, until it is unpinned\n")
    assert ran("device", "unpin", "kitchen", "cpu-int8")[:2] == (0, "device: kitchen runs what cpu-int8 runs\n")
    for words, exit_code, wanted in (
        (("unpin", "kitchen", "cpu-int8"), 1, "device 'kitchen' on target 'cpu-int8': is not pinned"),
        (("pin", "kitchen", "cpu-int8", "0" * 12), 1, "0" * 12),
        (("pin", "kitchen", "ncs2-fp16", first), 3, f"release {first}: no files for target 'ncs2-fp16'"),
        (("pin", "кухня", "cpu-int8", first), 3, "device: got 'кухня'"),
        (("pin", "kitchen", "cpu-int8", "релиз"), 3, "release_id: got 'релиз'"),
    ):
        code, _, said = ran("device", *words)
        assert (code, wanted in said) == (exit_code, True), said
    monkeypatch.setattr(device_pins, "FolderStore", type(None))  # as if the store had keys
    stack = tmp_path / ".modnet"
    for name in ("attic", "cellar"):
        ran("device", "add", name, "--stack", str(stack))
    ran("device", "revoke", "cellar", "--stack", str(stack))
    for name, exit_code in (("attic", 0), ("cellar", 3), ("kitchen", 3)):
        code, _, said = ran("device", "pin", name, "cpu-int8", first, "--stack", str(stack))
        assert code == exit_code
        assert code == 0 or f"device {name!r}: unknown or revoked, wanted one of ['attic']" in said


def test_what_is_not_there_is_said(ran: Ran, store: FolderStore, releases: list[str]) -> None:
    for words in (["promote", "0" * 12], ["retire", "0" * 12], ["import", "0" * 12]):
        code, _, said = ran("release", *words)
        assert (code, "0" * 12 in said) == (1, True), words
    code, _, said = ran("release", "promote", "no id")
    assert (code, "wanted 12 lower-case hexadecimal digits" in said) == (3, True)
    code, _, said = ran("release", "roll-back", "cpu-int8")
    assert (code, "runs no release" in said) == (1, True)


def test_signatures_are_renewed(ran: Ran, store: FolderStore, releases: list[str]) -> None:
    before = store.get("tuf/timestamp.json")
    code, out, _ = ran("release", "renew")
    assert (code, out.startswith("counts until: 20")) == (0, True)
    assert store.get("tuf/timestamp.json") != before


def test_the_ceremony_by_its_page(
    ran: Ran, store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, away = tmp_path / "keys", tmp_path / "away"
    monkeypatch.delenv("MODNET_KEYS")
    monkeypatch.chdir(tmp_path)
    assert ran("keys", "new", "--keys", str(home), "--root-folder", str(away))[0] == 0
    assert sorted(path.name for path in home.iterdir()) == [
        *("1.root.json", "root.json", "snapshot.pem", "targets.pem", "timestamp.pem")
    ]
    assert [path.name for path in away.iterdir()] == ["root.pem"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in [*home.glob("*.pem"), *away.iterdir()])
    code, _, said = ran("keys", "new", "--keys", str(home), "--root-folder", str(away))
    assert (code, "is there already" in said) == (3, True)
    monkeypatch.setenv("MODNET_KEYS", str(home))
    before = json.loads(ran("keys", "show", "--json")[1])
    assert before["version"] == 1
    assert ran("release", "renew")[0] == 0
    for role in ("targets", "root"):
        assert ran("keys", "rotate", role, "--root-folder", str(away))[0] == 0
    assert ran("keys", "sign", "--root-folder", str(away))[0] == 0
    after = json.loads(ran("keys", "show", "--json")[1])
    assert after["version"] == 4
    kept = {name for name in before if before[name] == after[name]}
    assert kept >= {"snapshot key", "timestamp key"}
    assert kept.isdisjoint({"version", "root key", "targets key"})


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "open to others": (lambda path: path.chmod(0o640), "got mode 0640, wanted 0600"),
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:50]), "wanted an Ed25519 key in PKCS 8"),
    "of another role": (
        lambda path: path.write_bytes((path.parent / "snapshot.pem").read_bytes()),
        "which .* names for timestamp",
    ),
    "gone": (lambda path: path.unlink(), "no such file, wanted the key that signs timestamp"),
}


@pytest.mark.parametrize(("spoil", "words"), SPOILT.values(), ids=SPOILT)
def test_a_key_file_that_cannot_be_used_signs_nothing(
    ran: Ran,
    store: FolderStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Path], object],
    words: str,
) -> None:
    ran("keys", "new", "--keys", str(tmp_path / "keys"), "--root-folder", str(tmp_path / "away"))
    monkeypatch.setenv("MODNET_KEYS", str(tmp_path / "keys"))
    spoil(tmp_path / "keys" / "timestamp.pem")
    code, _, said = ran("release", "renew")
    assert code == 3
    assert re.search(words, said), said
    assert not store.exists("tuf/timestamp.json")


def test_without_keys_the_command_that_makes_them_is_said(
    ran: Ran, store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODNET_KEYS", str(tmp_path / "nothing"))
    code, _, said = ran("release", "list")
    assert (code, "`modnet keys new` makes keys and root" in said) == (3, True)


def test_reading_needs_no_signing_key(store: FolderStore, releases: list[str]) -> None:
    assert len(trust_of(store).paths("releases/")) == 3
    assert Publisher(store, keys()).signed("releases/nothing") is None
