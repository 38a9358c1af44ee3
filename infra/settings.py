"""Where this process finds its services and keeps its files: the one reader of our environment variables.

* `MODNET_STORE`: the object store, `s3://bucket[/prefix]` or `file:///folder`; default `.modnet/store` in the current
  folder.
* `MODNET_CACHE`: folder for downloaded and extracted inputs; default `~/.cache/modnet`.
* `MODNET_LEGACY`: folder of old OpenVINO runtimes, see `make legacy-runtimes`; default `.modnet/legacy` in the current
  folder.
* `MODNET_KEYS`: folder of the keys that sign releases, see `modnet keys`; default `.modnet/keys` in the current folder.
* `RAY_ADDRESS`: the Ray cluster, `auto`, `local` or `host:port`; default none, Ray starts here.

S3 endpoint and credentials are boto3's own: `AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.device.errors import SettingsError

_RAY_ADDRESS = re.compile(r"auto|local|([A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\]):\d{1,5}")


@dataclass(frozen=True)
class Settings:
    """The settings of one process; `from_env` reads and checks them."""

    store_url: str
    cache_folder: Path
    ray_address: str | None
    legacy_folder: Path
    keys_folder: Path

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """The settings that the environment gives, defaults filled in.

        Raises:
            SettingsError: a value cannot be used; says variable, value and what is allowed.
        """
        return cls(
            store_url=_store_url(environ.get("MODNET_STORE")),
            cache_folder=_folder("MODNET_CACHE", environ.get("MODNET_CACHE", "~/.cache/modnet")),
            ray_address=_ray_address(environ.get("RAY_ADDRESS")),
            legacy_folder=_folder("MODNET_LEGACY", environ.get("MODNET_LEGACY", str(Path.cwd() / ".modnet/legacy"))),
            keys_folder=_folder("MODNET_KEYS", environ.get("MODNET_KEYS", str(Path.cwd() / ".modnet/keys"))),
        )


def _store_url(value: str | None) -> str:
    if value is None:
        return (Path.cwd() / ".modnet" / "store").as_uri()
    if not value.startswith(("s3://", "file:///")):
        raise SettingsError(f"MODNET_STORE = {value!r}: wanted s3://bucket[/prefix] or file:///folder")
    return value


def _folder(name: str, value: str) -> Path:
    try:
        folder = Path(value).expanduser()
    except RuntimeError as error:
        raise SettingsError(f"{name} = {value!r}: wanted the home folder of a user of this machine: {error}") from error
    if not folder.is_absolute():
        raise SettingsError(f"{name} = {value!r}: wanted an absolute path")
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"{name} = {value!r}: wanted a folder, this is a file")
    return folder


def _ray_address(value: str | None) -> str | None:
    if value is not None and not _RAY_ADDRESS.fullmatch(value):
        raise SettingsError(f"RAY_ADDRESS = {value!r}: wanted auto, local or host:port")
    return value
