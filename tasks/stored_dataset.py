"""A data set in the object store: put there once, opened on any node."""

from __future__ import annotations

from pathlib import Path

from infra.device.stores.object_store import ObjectStore
from infra.settings import Settings
from modnet.configs import DatasetConfig
from modnet.data.archives import extract_archive
from modnet.data.download import fetch_archive, sha256_of_file
from modnet.records import DatasetRecord
from modnet.workloads.matting.data.indexing import DatasetIndex, index_dataset
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from tasks.stored import STAGE_VERSIONS, fetch, get_record, identify, once, upload


def local_archive(config: DatasetConfig, folder: Path) -> Path:
    """The archive that `config` names, on this machine: rendered, downloaded or already there."""
    if config.source == "synthetic":
        name = identify(synthetic=config.synthetic.model_dump(), version=STAGE_VERSIONS["dataset"])
        path = folder / f"synthetic-{name}.zip"
        if not path.exists():
            settings = config.synthetic
            write_synthetic_archive(
                path,
                train=settings.train,
                val=settings.val,
                size=(settings.height, settings.width),
                seed=settings.seed,
            )
        return path
    return fetch_archive(config.source, folder, sha256=config.sha256)


def publish_dataset(config: DatasetConfig, settings: Settings, store: ObjectStore) -> DatasetRecord:
    """Fetches, verifies and indexes a data set and puts its archive into the store; a second call finds it there."""
    archive = local_archive(config, settings.cache_folder / "archives")
    digest = sha256_of_file(archive)
    dataset_id = identify(archive=digest, version=STAGE_VERSIONS["dataset"])

    def compute() -> DatasetRecord:
        index = index_dataset(extract_archive(archive, settings.cache_folder / "datasets"))
        return DatasetRecord(
            dataset_id=dataset_id,
            archive=upload(store, f"datasets/{dataset_id}/archive.zip", archive),
            source=config.source,
            is_synthetic=config.source == "synthetic",
            fit=len(index.split("fit")),
            tune=len(index.split("tune")),
            val=len(index.val),
        )

    return once(store, f"datasets/{dataset_id}/dataset.json", DatasetRecord, compute)


def read_dataset(store: ObjectStore, dataset_id: str) -> DatasetRecord:
    """The record of a published data set."""
    return get_record(store, f"datasets/{dataset_id}/dataset.json", DatasetRecord)


def open_dataset(dataset_id: str, settings: Settings, store: ObjectStore) -> tuple[Path, DatasetIndex]:
    """Folder and index of a published data set on this node; downloaded and extracted once."""
    archive = fetch(store, read_dataset(store, dataset_id).archive, settings.cache_folder / "objects")
    folder = extract_archive(archive, settings.cache_folder / "datasets")
    return folder, index_dataset(folder)
