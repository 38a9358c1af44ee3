"""A network is used at its own shape, then at the run's, then at that of its data set's images."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from infra.device.stores.folder_store import FolderStore
from infra.settings import Settings
from modnet.checkpoint import save_checkpoint
from modnet.configs import DatasetConfig, ExportConfig, PruningConfig, RetrainConfig, SyntheticConfig
from modnet.errors import DatasetError
from modnet.records import Candidate, DatasetRecord, RetrainReport, TrainingReport
from modnet.targets import Shape
from modnet.workloads.matting.data.indexing import DatasetIndex, Pair
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.portraits import Portraits
from tasks.remote import bases, candidates
from tasks.remote.node import answered
from tasks.stored import get_record, put_record
from tasks.stored_dataset import publish_dataset
from tasks.stored_network import candidate_key, pruned_id, retrained_key, shaped

UNTRAINED = TrainingReport(steps=0, images_seen=0, history=(), best_epoch=None, precision="fp32", seconds=0)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    monkeypatch.setenv("MODNET_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MODNET_CACHE", str(tmp_path / "cache"))
    return FolderStore(tmp_path / "store")


def published(store: FolderStore, height: int, width: int) -> DatasetRecord:
    drawn = SyntheticConfig(train=5, val=1, height=height, width=width)
    return publish_dataset(DatasetConfig(synthetic=drawn), Settings.from_env(), store)


@pytest.mark.parametrize(
    ("height", "width", "shape"), [(96, 64, "512x352"), (64, 96, "352x512"), (64, 64, "512x512"), (256, 64, "512x128")]
)
def test_a_data_set_says_what_shape_its_images_fill(height: int, width: int, shape: str, store: FolderStore) -> None:
    assert published(store, height, width).input_shape == shape


@pytest.mark.parametrize(
    ("own", "of_run", "shape"),
    [(None, None, "512x352"), (None, "64x96", "64x96"), ("128x96", "64x96", "128x96")],
    ids=["of the data", "of the run", "its own"],
)
def test_the_shape_nearest_to_a_network_counts(
    own: str | None, of_run: str | None, shape: str, store: FolderStore, tmp_path: Path
) -> None:
    checkpoint = save_checkpoint(MODNet(ModnetSpec.tiny()), tmp_path / "tiny.safetensors", {})
    base_id = bases.import_base(published(store, 96, 64).dataset_id, str(checkpoint)).base_id
    pruning = PruningConfig(channel_multiple=2, min_channels=2, input_shape=own)
    question = (base_id, pruning, RetrainConfig(), 0)
    name = pruned_id(store, *question)
    answered(candidate_key(name), Candidate, candidates.prune_network, (*question, name), cpus=1)
    pruned = get_record(store, candidate_key(name), Candidate).pruned
    put_record(store, retrained_key(name), RetrainReport(candidate_id=name, checkpoint=pruned, training=UNTRAINED))
    export = ExportConfig(input_shape=of_run)
    assert shaped(store, name, export).input_shape == shape
    assert shaped(store, base_id, export).input_shape == (of_run or "512x352")


def mixed(store: FolderStore, path: Path, *sizes: tuple[int, int], broken: int = 0) -> DatasetRecord:
    """A published data set of pictures of these heights and widths; some more that nobody can read are in *fit*."""
    with zipfile.ZipFile(path, "w") as archive:
        for split, of_split in (("train", sizes), ("val", sizes[:1])):
            for number, (height, width) in enumerate(of_split):
                image, matte = (np.full((height, width, *more), 128, np.uint8) for more in ((3,), ()))
                archive.writestr(f"a/{split}/fg/{number:03d}.png", cv2.imencode(".png", image)[1].tobytes())
                archive.writestr(f"a/{split}/alpha/{number:03d}.png", cv2.imencode(".png", matte)[1].tobytes())
        for number in range(broken):
            archive.writestr(f"a/pseudo/fg/broken-{number}.png", b"no picture")
            archive.writestr(f"a/pseudo/alpha/broken-{number}.png", b"no picture")
    return publish_dataset(DatasetConfig(source=str(path)), Settings.from_env(), store)


UPRIGHT, ACROSS, SQUARE, NEARLY = (90, 60), (60, 90), (80, 80), (80, 81)


@pytest.mark.parametrize(
    ("sizes", "shapes"),
    [
        ([UPRIGHT, UPRIGHT, ACROSS] * 7, ((512, 352), (352, 512))),
        ([UPRIGHT, ACROSS, ACROSS] * 7, ((352, 512), (512, 352))),
        ([UPRIGHT] * 40 + [ACROSS] * 2, ((512, 352),)),
        ([ACROSS] * 40 + [UPRIGHT] * 2, ((352, 512),)),
        ([UPRIGHT] * 20 + [NEARLY] * 8, ((512, 352),)),
        ([SQUARE] * 8, ((512, 512),)),
        ([SQUARE] * 20 + [UPRIGHT, ACROSS] * 4, ((512, 512),)),
    ],
    ids=["more upright", "more across", "few across", "few upright", "nearly square", "squares", "mostly squares"],
)
def test_a_data_set_of_both_orientations_fills_a_shape_and_the_same_turned(
    sizes: list[tuple[int, int]], shapes: tuple[Shape, ...], store: FolderStore, tmp_path: Path
) -> None:
    assert mixed(store, tmp_path / "mixed.zip", *sizes).shapes == shapes


def test_images_that_cannot_be_read_have_no_say_in_the_shape(store: FolderStore, tmp_path: Path) -> None:
    shapes = ((512, 352), (352, 512))
    assert mixed(store, tmp_path / "some.zip", *[UPRIGHT, UPRIGHT, ACROSS] * 7, broken=30).shapes == shapes
    missing = [Pair(stem=str(number), image="x.png", matte="x.png") for number in range(6)]
    assert Portraits(tmp_path, DatasetIndex(train=missing[:5], val=missing[5:])).input_shapes() == ((512, 512),)


def test_one_image_is_no_data_set_and_one_of_fit_tells_the_shape(store: FolderStore, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="train has 1 pairs, wanted at least 5"):
        mixed(store, tmp_path / "one.zip", UPRIGHT)
    assert mixed(store, tmp_path / "five.zip", *[ACROSS] * 5).shapes == ((352, 512),)


@pytest.mark.parametrize(
    ("said", "shapes"),
    [
        ({}, ((512, 352), (352, 512))),
        ({"turned": False}, ((512, 352),)),
        ({"input_shape": "64x96"}, ((64, 96), (96, 64))),
        ({"input_shape": "64x64"}, ((64, 64),)),
    ],
    ids=["the data's", "one only", "the run's", "a square"],
)
def test_a_release_has_both_orientations_where_the_data_have_them(
    said: dict, shapes: tuple[Shape, ...], store: FolderStore, tmp_path: Path
) -> None:
    dataset = mixed(store, tmp_path / "mixed.zip", *[UPRIGHT, ACROSS] * 5)
    checkpoint = save_checkpoint(MODNet(ModnetSpec.tiny()), tmp_path / "tiny.safetensors", {})
    base_id = bases.import_base(dataset.dataset_id, str(checkpoint)).base_id
    assert shaped(store, base_id, ExportConfig(**said)).shapes == shapes
