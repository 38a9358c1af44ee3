from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.device.errors import ContractError, SettingsError
from infra.device.stores.object_store import open_store


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/folder",
        "s3://",
        "s3://UPPER",
        "s3://bucket?x=1",
        "file://host/folder",
        "file:relative",
        "http://bucket",
        "s3://b/a//c",
        "s3://[x",
    ],
)
def test_open_store_refuses_other_urls(aws: pytest.MonkeyPatch, url: str) -> None:
    with pytest.raises((SettingsError, ContractError)):
        open_store(url)


def test_open_store_gives_a_store_that_knows_its_url(aws: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for url in ("s3://bucket", "s3://bucket/a/prefix", (tmp_path / "with space").as_uri()):
        assert open_store(url).url == url


def test_open_store_needs_boto3_only_for_s3(tmp_path: Path) -> None:
    program = f"""
import sys
sys.modules["boto3"] = None  # as on a machine without it
from infra.device.errors import SettingsError
from infra.device.stores.object_store import open_store
open_store({tmp_path.as_uri()!r}).put("a", b"")
try:
    open_store("s3://bucket")
except SettingsError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], env=os.environ, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("object store URL 's3://bucket': needs boto3, install it with pip")
