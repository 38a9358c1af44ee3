from __future__ import annotations

from pathlib import Path

import pytest

from infra.device.errors import SettingsError
from infra.settings import Settings


def test_from_env_gives_local_defaults_when_nothing_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_env({})
    assert settings.store_url == (tmp_path / ".modnet/store").as_uri()
    assert settings.cache_folder == Path.home() / ".cache/modnet"
    assert settings.ray_address is None
    assert settings.legacy_folder == tmp_path / ".modnet/legacy"
    assert settings.keys_folder == tmp_path / ".modnet/keys"


def test_from_env_gives_what_is_set(tmp_path: Path) -> None:
    environ = {"MODNET_STORE": "s3://bucket/prefix", "MODNET_CACHE": str(tmp_path), "RAY_ADDRESS": "head:6379"}
    environ |= {"MODNET_LEGACY": str(tmp_path / "old"), "MODNET_KEYS": str(tmp_path / "keys")}
    wanted = Settings("s3://bucket/prefix", tmp_path, "head:6379", tmp_path / "old", tmp_path / "keys")
    assert Settings.from_env(environ) == wanted


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MODNET_STORE", ""),
        ("MODNET_STORE", "/a/folder"),
        ("MODNET_STORE", "https://bucket"),
        ("MODNET_CACHE", "relative/folder"),
        ("MODNET_CACHE", __file__),
        ("MODNET_CACHE", "~nosuchuser/folder"),
        ("MODNET_LEGACY", "relative/folder"),
        ("MODNET_KEYS", "relative/folder"),
        ("RAY_ADDRESS", ""),
        ("RAY_ADDRESS", "head"),
        ("RAY_ADDRESS", "head:port"),
    ],
)
def test_from_env_names_variable_and_value_when_it_is_wrong(variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({variable: value})
    assert variable in str(caught.value)
    assert repr(value) in str(caught.value)
