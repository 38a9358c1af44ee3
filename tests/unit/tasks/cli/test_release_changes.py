"""`modnet release …` and `modnet keys …` on a folder store."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.device.stores.folder_store import FolderStore
from infra.publishing.repository import Publisher
from tasks.cli import main
from tests.signing import keys, trust_of
from tests.unit.infra.exported import three_releases

Ran = Callable[..., tuple[int, str, str]]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    monkeypatch.setenv("MODNET_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MODNET_KEYS", str(keys().folder))
    return FolderStore(tmp_path / "store")


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
