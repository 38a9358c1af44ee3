"""Class folders: which image is of which class and split, and what is said of folders that are no data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modnet.data.images import write_png
from modnet.errors import DatasetError
from modnet.workloads.classification.folders import index_classes
from tests.unit.modnet.workloads.classification.class_folders import grey_folder

PETS = {"pets/train/dog": 20, "pets/train/cat": 31, "pets/test/dog": 2, "pets/test/cat": 3}


def test_a_tenth_of_each_class_is_to_tune_and_labels_count_the_classes_in_order(tmp_path: Path) -> None:
    index = index_classes(grey_folder(tmp_path, PETS))
    assert index.classes == ("cat", "dog")
    by_class = {split: [one.label for one in images] for split, images in index.splits.items()}
    assert {split: (labels.count(0), labels.count(1)) for split, labels in by_class.items()} == {
        "fit": (28, 18),
        "tune": (3, 2),
        "val": (3, 2),
    }
    names = {split: {one.name for one in images} for split, images in index.splits.items()}
    assert names["fit"].isdisjoint(names["tune"])
    assert all(name.startswith(("cat/", "dog/")) for name in names["fit"])


def test_splits_are_the_same_wherever_the_folder_is_and_mix_the_classes(tmp_path: Path) -> None:
    ones, others = (index_classes(grey_folder(tmp_path / name, PETS)).splits for name in ("one", "other"))
    assert ones == others
    assert {image.label for image in ones["fit"][:8]} == {0, 1}


def test_another_image_moves_at_most_one_between_fit_and_tune(tmp_path: Path) -> None:
    before = index_classes(grey_folder(tmp_path, PETS)).splits["tune"]
    write_png(tmp_path / "pets/train/cat/new.png", np.zeros((8, 8, 3), np.uint8))
    after = index_classes(tmp_path).splits["tune"]
    assert len({one.name for one in before} ^ {one.name for one in after}) <= 2


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"train/cat": 3, "train/dog": 0, "val/cat": 1}, r"classes without an image in train: 1 \(dog\)"),
        ({"train/cat": 3, "val/cat": 1}, r"train has 1 class folders \(cat\), wanted at least 2"),
        (
            {"train/cat": 3, "train/dog": 3, "val/bird": 1},
            r"classes in val that train lacks: 1 \(bird\)",
        ),
        ({"train/cat": 3, "train/dog": 1, "val/cat": 1}, r"classes with 1 image in train, wanted at least 2.*\(dog\)"),
        ({"train/cat": 3, "train/dog": 3, "val": 2}, r"images in val outside of a class folder: 2 .*val has no class"),
        ({"cat": 3, "dog": 3}, r"wanted one folder with train/<class>/ and val/<class>/ or test/<class>/, got none"),
    ],
    ids=["empty class", "one class", "unknown class", "one image", "no class folders", "other layout"],
)
def test_what_is_no_data_set_is_refused_with_its_names(tmp_path: Path, counts: dict[str, int], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        index_classes(grey_folder(tmp_path, counts))
