"""Mattes that a teacher makes: their doubt, and a folder of them that a killed call left."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from modnet.data.images import Image, read_image, write_png
from modnet.errors import ConfigError, DatasetError
from modnet.workloads.matting.data.images import Alpha, read_matte
from modnet.workloads.matting.data.indexing import index_dataset
from modnet.workloads.matting.data.synthetic import render_portrait
from modnet.workloads.matting.pseudo_labels import RECORD, pseudo_label, taught


def green(image: Image) -> Alpha:
    """A network that takes green for the person."""
    return image[..., 1].astype(np.float32) / 255


def left_half(image: Image) -> Alpha:
    """A network that changes its mind before a mirror."""
    alpha = np.zeros(image.shape[:2], np.float32)
    alpha[:, : image.shape[1] // 2] = 1
    return alpha


class KilledError(Exception):
    """Of a call that ends amid its work."""


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A data set of 6 and 2 portraits, a folder of 4 other pictures, and where the larger data set shall be."""
    labelled, images = tmp_path / "labelled", tmp_path / "images"
    for number in range(8):
        image, alpha = render_portrait(np.random.default_rng(number), (96, 64))
        split = labelled / ("train" if number < 6 else "val")
        for part, picture in (("fg", image), ("alpha", np.rint(255 * alpha).astype(np.uint8))):
            (split / part).mkdir(parents=True, exist_ok=True)
            write_png(split / part / f"{number}.png", picture)
    images.mkdir()
    for number in range(4):
        write_png(images / f"{number}.png", render_portrait(np.random.default_rng(100 + number), (96, 64))[0])
    return labelled, images, tmp_path / "more"


def test_doubt_is_the_mean_distance_from_the_mean_matte() -> None:
    image = np.zeros((4, 8, 3), np.uint8)
    image[..., 1] = 51
    matte, doubt = taught([green], image)
    assert (matte == np.float32(0.2)).all()
    assert doubt == 0
    matte, doubt = taught([left_half], image)
    assert (matte == 0.5).all()
    assert doubt == 0.5
    matte, doubt = taught([green, left_half], image)
    assert matte == pytest.approx(0.35)
    assert doubt == pytest.approx((0.15 + 0.15 + 0.65 + 0.35) / 4)


def test_mattes_are_the_means_and_the_labelled_images_stay(folders: tuple[Path, Path, Path]) -> None:
    labelled, images, out = folders
    found = pseudo_label({"green": green}, labelled, images, out, max_doubt=0.0)
    assert (found.kept, found.doubtful, found.unreadable, found.doubt) == (4, 0, (), 0)
    before, after = index_dataset(labelled), index_dataset(out)
    assert [pair.stem for pair in after.train] == [pair.stem for pair in before.train]
    for pair in after.pseudo:
        assert np.abs(read_matte(out / pair.matte) - green(read_image(out / pair.image))).max() < 1 / 255
    for one, other in zip((*before.train, *before.val), (*after.train, *after.val), strict=True):
        assert (labelled / one.matte).read_bytes() == (out / other.matte).read_bytes()


def test_doubtful_images_are_left_out_and_a_teacher_without_certainty_is_refused(
    folders: tuple[Path, Path, Path],
) -> None:
    labelled, images, out = folders
    cv2.imwrite(str(images / "0.png"), np.zeros((96, 64, 3), np.uint8))  # nobody, and of no doubt for this teacher

    def unsure(image: Image) -> Alpha:
        return left_half(image) * (image.max() > 0)

    found = pseudo_label({"unsure": unsure}, labelled, images, out, max_doubt=0.1)
    assert (found.kept, found.doubtful) == (1, 3)
    assert [pair.stem for pair in index_dataset(out).pseudo] == ["pseudo-00000"]
    with pytest.raises(DatasetError, match=r"no image has a doubt of at most 0\.1, the least is 0\.500"):
        pseudo_label({"left": left_half}, labelled, images, out.with_name("none"), max_doubt=0.1)


def test_a_killed_call_goes_on_and_another_question_is_refused(folders: tuple[Path, Path, Path]) -> None:
    labelled, images, out = folders
    seen = []

    def dies(image: Image) -> Alpha:
        seen.append(image)
        if len(seen) > 5:  # in the third image: each is seen twice
            raise KilledError
        return green(image)

    with pytest.raises(KilledError):
        pseudo_label({"green": dies}, labelled, images, out, max_doubt=0.1)
    with (out / RECORD).open("ab") as record:
        record.write(b'["2.png", 0.')  # what a killed process may leave of a line
    with pytest.raises(ConfigError, match="was made with other teachers, max_doubt: choose another folder"):
        pseudo_label({"blue": green}, labelled, images, out, max_doubt=0.2)

    def counted(image: Image) -> Alpha:
        seen.append(image)
        return green(image)

    seen.clear()
    assert pseudo_label({"green": counted}, labelled, images, out, max_doubt=0.1).kept == 4
    assert len(seen) == 4
    seen.clear()
    assert pseudo_label({"green": counted}, labelled, images, out, max_doubt=0.1).kept == 4
    assert not seen
    whole = out.with_name("whole")
    pseudo_label({"green": green}, labelled, images, whole, max_doubt=0.1)
    files = [sorted(path.relative_to(one) for path in one.rglob("*.*")) for one in (out, whole)]
    assert files[0] == files[1]
    assert all((out / path).read_bytes() == (whole / path).read_bytes() for path in files[0])


def test_images_that_cannot_be_read_and_a_second_teacher_are_refused(folders: tuple[Path, Path, Path]) -> None:
    labelled, images, out = folders
    pseudo_label({"green": green}, labelled, images, out, max_doubt=0.1)
    with pytest.raises(DatasetError, match="holds 4 images with a teacher's mattes already"):
        pseudo_label({"green": green}, out, images, out.with_name("again"), max_doubt=0.1)
    for path in images.iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"none of the 4 images of .* can be read, the first is 0\.png"):
        pseudo_label({"green": green}, labelled, images, out.with_name("none"), max_doubt=0.1)


def test_a_folder_of_something_else_is_left_alone(folders: tuple[Path, Path, Path]) -> None:
    labelled, images, out = folders
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty and holds no pseudo-labels.jsonl"):
        pseudo_label({"green": green}, labelled, images, out, max_doubt=0.1)
    assert [path.name for path in out.iterdir()] == ["notes.txt"]


def test_a_pseudo_label_of_a_labelled_image_s_name_is_refused(folders: tuple[Path, Path, Path]) -> None:
    labelled, _, _ = folders
    for part in ("fg", "alpha"):
        (labelled / "pseudo" / part).mkdir(parents=True)
        (labelled / "pseudo" / part / "3.png").write_bytes((labelled / "train" / part / "3.png").read_bytes())
    with pytest.raises(DatasetError, match=r"stems of pseudo that are in train or val: 1 \(3\)"):
        index_dataset(labelled)
