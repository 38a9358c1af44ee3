"""A data set in the object store: put there once, opened on any node."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING

from infra.cache import hold
from infra.device.stores.object_store import ObjectStore
from infra.room import require_room
from infra.settings import Settings
from modnet.configs import DatasetConfig
from modnet.configs.shape import shown
from modnet.data.archives import extract_archive
from modnet.data.download import fetch_archive, sha256_of_file
from modnet.errors import DatasetError
from modnet.records import DatasetRecord
from modnet.targets import LONGEST_SIDE, STRIDE, is_readable
from modnet.workloads import USUAL_WORKLOAD, draw_synthetic, workload_named
from tasks.stored import STAGE_VERSIONS, fetch, get_record, identify, once, upload

if TYPE_CHECKING:
    from modnet.workload import LabelledData  # with torch, which fetching does without

_ROOM = 3  # times its archive: that, its files, and some to work with


def local_archive(config: DatasetConfig, cache: Path) -> Path:
    """The archive that `config` names, on this machine: rendered, downloaded or already there.

    One in the cache is kept for as long as this process lives.

    Raises:
        ConfigError: there is no such workload, or it renders no data set.
    """
    archive = _brought(config, cache / "archives")
    while archive.is_relative_to(cache) and not hold(archive):  # it was old, and has just been removed
        archive = _brought(config, cache / "archives")
    return archive


def _brought(config: DatasetConfig, folder: Path) -> Path:
    if config.source == "synthetic":
        drawn = {"workload": config.workload or USUAL_WORKLOAD, "synthetic": config.synthetic.model_dump()}
        path = folder / f"synthetic-{identify(**drawn, version=STAGE_VERSIONS['dataset'])}.zip"
        if not path.exists():
            draw_synthetic(config.workload, path, config.synthetic)
        return path
    return fetch_archive(config.source, folder, sha256=config.sha256)


def publish_dataset(config: DatasetConfig, settings: Settings, store: ObjectStore) -> DatasetRecord:
    """Fetches, verifies and indexes a data set and puts its archive into the store; a second call finds it there.

    Raises:
        DatasetError: it cannot be used, or its workload says that its images fill what no network reads.
    """
    workload = workload_named(config.workload)
    archive = local_archive(config, settings.cache_folder)
    digest = sha256_of_file(archive)
    dataset_id = identify(workload=workload.name, archive=digest, version=STAGE_VERSIONS["dataset"])

    def compute() -> DatasetRecord:
        data = workload.open(unpacked(archive, settings.cache_folder))
        shape, *turned = data.input_shapes()
        if not is_readable(shape) or turned not in ([], [shape[::-1]]):
            raise DatasetError(
                f"workload {workload.name!r}: got input shapes {[shape, *turned]}, wanted height and width, multiples "
                f"of {STRIDE} up to {LONGEST_SIDE}, and behind it none or the same turned"
            )
        return DatasetRecord(
            dataset_id=dataset_id,
            workload=workload.name,
            archive=upload(store, f"datasets/{dataset_id}/archive.zip", archive),
            source=config.source,
            is_synthetic=config.source == "synthetic",
            fit=len(data.names("fit")),
            tune=len(data.names("tune")),
            val=len(data.names("val")),
            input_shape=shown(shape),
            turned=bool(turned),
        )

    return once(store, f"datasets/{dataset_id}/dataset.json", DatasetRecord, compute)


def read_dataset(store: ObjectStore, dataset_id: str) -> DatasetRecord:
    """The record of a published data set."""
    return get_record(store, f"datasets/{dataset_id}/dataset.json", DatasetRecord)


def open_dataset(dataset_id: str, settings: Settings, store: ObjectStore) -> LabelledData:
    """A published data set on this node; downloaded and extracted once.

    Raises:
        DiskFullError: this node has no room for it.
    """
    record, folder = read_dataset(store, dataset_id), settings.cache_folder / "datasets"
    if not (folder / record.archive.sha256[:12]).is_dir():
        wanted = _ROOM * record.archive.size_bytes
        require_room({f"data set {dataset_id}": (folder, wanted)}, f"free some on node {platform.node()}")
    archive = fetch(store, record.archive, settings.cache_folder / "objects")
    return workload_named(record.workload).open(unpacked(archive, settings.cache_folder))


def unpacked(archive: Path, cache: Path) -> Path:
    """The unpacked archive, kept for as long as this process lives."""
    while not hold(folder := extract_archive(archive, cache / "datasets")):
        pass  # it was old, and has just been removed
    return folder
