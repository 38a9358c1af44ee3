"""What a run says that it needs of the disks, and that it is refused without."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from infra.device.errors import DiskFullError
from infra.device.stores.folder_store import FolderStore
from infra.settings import Settings
from modnet.configs import DatasetConfig
from modnet.records import DatasetRecord
from tasks.configs.baseline import BaselineConfig
from tasks.configs.compress import CompressConfig
from tasks.needed_room import dataset_bytes, needed_room, network_bytes, require_room_for
from tasks.stored import put_file, put_record
from tasks.stored_dataset import open_dataset


def settings_of(folder: Path, **environ: str) -> Settings:
    given = {"MODNET_STORE": (folder / "store").as_uri(), "MODNET_CACHE": str(folder / "cache"), **environ}
    return Settings.from_env(given)


def test_network_is_the_unpruned_one_of_the_workload() -> None:
    assert 4 * 6_487_000 < network_bytes(None) < 4 * 6_600_000


def test_more_candidates_and_images_need_more(tmp_path: Path) -> None:
    archive = tmp_path / "portraits.zip"
    archive.write_bytes(b"x" * 1000)
    assert dataset_bytes(DatasetConfig(source=str(archive))) == 1000
    assert dataset_bytes(DatasetConfig(source=archive.as_uri())) == 1000
    assert dataset_bytes(DatasetConfig(source="https://example.org/portraits.zip")) == 0
    settings = settings_of(tmp_path)
    few, many = (
        needed_room(CompressConfig(profile="demo", pruning=words, dataset=DatasetConfig(source=str(archive))), settings)
        for words in ("5G", "5G,4G,3G")
    )
    store = tmp_path / "store"
    assert few["the store"][0] == many["the store"][0] == store
    # for each of two more: pruned, retrained, state, timed forms, and a refused ONNX file
    assert many["the store"][1] - few["the store"][1] >= 2 * 8 * network_bytes(None)
    elsewhere = settings_of(tmp_path, MODNET_STORE="s3://bucket", RAY_ADDRESS="node:6379")
    wanted = needed_room(CompressConfig(profile="demo"), elsewhere)
    assert sorted(wanted) == ["downloaded and unpacked files", "files on their way"]


def test_a_small_network_that_is_given_needs_less(tmp_path: Path) -> None:
    given = tmp_path / "tiny.safetensors"
    given.write_bytes(b"x" * 50_000)
    settings = settings_of(tmp_path)
    usual, small = (
        needed_room(CompressConfig(profile="demo", base=BaselineConfig(checkpoint=checkpoint)), settings)
        for checkpoint in ("shipped", str(given))
    )
    assert small["files on their way"][1] < usual["files on their way"][1] / 100
    assert small["the store"][1] < usual["the store"][1]


def test_a_stack_has_its_store_on_this_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODNET_STACK", str(tmp_path))
    run = CompressConfig(profile="demo"), settings_of(tmp_path, MODNET_STORE="s3://modnet")
    assert "the store" not in needed_room(*run)  # of a deployment, whose store is elsewhere
    (tmp_path / "seaweedfs").mkdir()
    wanted = needed_room(*run)
    assert wanted["the store"][0] == tmp_path / "seaweedfs"
    assert wanted["the S3 server, which takes nothing below that"][1] == 512 << 20


def test_a_run_without_room_is_refused_with_what_there_is_and_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_room_for(CompressConfig(profile="demo"), settings_of(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9, total=10**12))
    words = rf"got 1.00 GB of free disk, wanted .* for the store in {tmp_path}/store.*`modnet store tidy`"
    with pytest.raises(DiskFullError, match=words):
        require_room_for(CompressConfig(profile="demo"), settings_of(tmp_path))


def test_a_node_without_room_for_the_data_says_so_before_it_downloads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore(tmp_path / "store")
    record = DatasetRecord(
        dataset_id="data",
        archive=put_file(store, "datasets/data/archive.zip", b"x" * 1000),
        source="portraits.zip",
        is_synthetic=False,
        fit=1,
        tune=1,
        val=1,
    )
    put_record(store, "datasets/data/dataset.json", record)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2999, total=10**12))
    with pytest.raises(DiskFullError, match="for data set data in .*: free some on node"):
        open_dataset("data", settings_of(tmp_path), store)
    assert not (tmp_path / "cache").exists()
