"""A data set of class folders as the engine asks for it: samples, pixels, errors, the sheet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from modnet.configs import TrainingConfig
from modnet.errors import ConfigError, DatasetError
from modnet.evaluation.data_check import check_folder
from modnet.graph_function import Pixels
from modnet.workload import inputs_of
from modnet.workloads.classification.labelled import ClassFolders
from modnet.workloads.classification.network import MobileNetV2, MobileNetV2Spec
from modnet.workloads.classification.preprocessing import centred, prepare, ranked, shares
from modnet.workloads.classification.settings import ClassAugmentation, ClassTraining
from tests.unit.modnet.workloads.classification.class_folders import drawn_folder, grey_folder

SIX = ("cross", "disc", "ring", "square", "stripes", "triangle")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ClassFolders:
    return ClassFolders(drawn_folder(tmp_path_factory.mktemp("drawn")))


def always(*logits: float):
    return lambda _: np.array([logits], np.float32)


def test_centred_fits_the_short_side_and_cuts_both_ends_of_the_long_one() -> None:
    image = np.zeros((32, 96, 3), np.uint8)
    image[:, 32:64] = 255
    assert (centred(image, (32, 32)) == 255).all()
    assert centred(np.zeros((31, 97, 3), np.uint8), (64, 64)).shape == (64, 64, 3)
    assert prepare(image, (32, 32)).shape == (1, 3, 32, 32)


def test_samples_depend_on_seed_epoch_and_index_alone(data: ClassFolders) -> None:
    ones, others = (data.training_set("fit", ClassTraining(), (64, 64), seed) for seed in (0, 1))
    first = ones[3]
    assert (first.image.shape, first.image.dtype, first.label.dtype) == ((3, 64, 64), torch.float32, torch.int64)
    assert first.image.abs().max() <= 1
    assert torch.equal(ones[3].image, first.image)
    assert not torch.equal(others[3].image, first.image)
    ones.set_epoch(1)
    assert not torch.equal(ones[3].image, first.image)
    assert inputs_of(MobileNetV2(MobileNetV2Spec.tiny(SIX)), first) == (first.image,)


def test_without_changes_a_sample_is_the_image(data: ClassFolders) -> None:
    still = ClassTraining(augmentation=ClassAugmentation(smallest_crop=1, flip=0, colour=0))
    drawn = data.training_set("fit", still, (64, 64), 0)[0].image.numpy()
    np.testing.assert_array_equal(drawn, data.pixels("fit", 0, (64, 64))[0])


def test_a_training_config_of_the_engine_alone_changes_samples_as_usual(data: ClassFolders) -> None:
    usual = data.training_set("fit", TrainingConfig(), (64, 64), 0)[0].image
    assert torch.equal(usual, data.training_set("fit", ClassTraining(), (64, 64), 0)[0].image)


def test_sample_is_a_batch_of_one_square(data: ClassFolders) -> None:
    image, label = data.sample("val", 0, 96)
    assert (image.shape, label.shape) == ((1, 3, 96, 96), (1,))
    assert data.names("val")[0].startswith(SIX[int(label)])


def test_errors_are_of_the_first_class_and_the_first_five(data: ClassFolders) -> None:
    """A graph that always says `cross`, and `triangle` last: 1 of 6 classes is right, 5 of 6 are among the first 5."""
    scores = data.scores(always(6, 5, 4, 3, 2, 1), "val")
    assert scores.errors == pytest.approx({"top1": 5 / 6, "top5": 1 / 6})
    assert scores.protocol == "centre-64x64"
    wrong = {one.stem: one.errors["top1"] for one in scores.per_image}
    assert all((error == 0) == name.startswith("cross/") for name, error in wrong.items())
    position = data.names("val").index("cross/00000.png")
    assert data.error(always(6, 5, 4, 3, 2, 1), "val", position, [(32, 32)]) == 0


def test_few_classes_have_no_top_5_error(tmp_path: Path) -> None:
    data = ClassFolders(grey_folder(tmp_path, {"train/a": 3, "train/b": 3, "val/b": 2}))
    assert data.scores(always(0, 1), "val").errors == {"top1": 0.0}


def test_a_graph_of_other_outputs_is_refused(data: ClassFolders) -> None:
    with pytest.raises(ConfigError, match=r"output for one image is \(1, 2\), wanted logits of \(1, 6\)"):
        data.scores(always(0, 1), "val")


def test_an_image_is_read_at_the_shape_that_fits_it(tmp_path: Path) -> None:
    counts = {"train/a": 3, "train/b": 3, "val/b": 1}
    data = ClassFolders(grey_folder(tmp_path, counts, height=64, width=128))
    read = []

    def graph(pixels: Pixels) -> Pixels:
        read.append(pixels.shape[2:])
        return np.zeros((1, 2), np.float32)

    data.error(graph, "val", 0, [(128, 64), (64, 128)])
    assert read == [(64, 128)]


@pytest.mark.parametrize(("side", "wanted"), [(32, 64), (100, 96), (500, 224)])
def test_the_input_is_a_square_of_the_images_side(tmp_path: Path, side: int, wanted: int) -> None:
    counts = {"train/a": 3, "train/b": 3, "val/b": 1}
    data = ClassFolders(grey_folder(tmp_path, counts, height=side, width=side + 40))
    assert data.input_shapes() == ((wanted, wanted),)


def test_images_that_cannot_be_read_are_counted_and_named(tmp_path: Path) -> None:
    folder = grey_folder(tmp_path, {"train/a": 3, "train/b": 3, "val/a": 3})
    (folder / "val/a/1.png").write_bytes(b"no picture")
    data = ClassFolders(folder)
    with pytest.raises(DatasetError, match=r"1 of 3 images of .* cannot be read: .*val/a/1\.png"):
        data.scores(always(1, 0), "val")
    check, _ = check_folder(ClassFolders, folder)
    assert len(check.errors) == 1


def test_the_sheet_is_a_picture(data: ClassFolders) -> None:
    assert data.sheet({"unpruned": (always(6, 5, 4, 3, 2, 1), [(64, 64)])}, "val", 3).startswith(b"\x89PNG")


def test_shares_add_up_and_equal_logits_rank_in_order() -> None:
    logits = np.array([1000, 1000, 0], np.float32)
    np.testing.assert_allclose(shares(logits), [0.5, 0.5, 0])
    assert ranked(logits, 2).tolist() == [0, 1]
