"""Portraits with mattes on this machine, as the engine asks for labelled data."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modnet.configs import TrainingConfig
from modnet.configs.shape import orientations
from modnet.data.images import Image, normalise, read_image, resize
from modnet.errors import DatasetError
from modnet.graph_function import GraphFunction
from modnet.network import PrunableNetwork
from modnet.records import Scores
from modnet.targets import STRIDE, Shape
from modnet.workload import Looked, Split
from modnet.workloads.matting.data.dataset import MattingDataset
from modnet.workloads.matting.data.images import Alpha, check_same_size, checked_alpha, read_matte16, read_pair
from modnet.workloads.matting.data.indexing import DatasetIndex, Pair, index_dataset
from modnet.workloads.matting.data.preprocessing import SIDE, input_geometry, prepare
from modnet.workloads.matting.data.protocols import letterbox
from modnet.workloads.matting.evaluate import evaluate
from modnet.workloads.matting.matte_faults import faults_of
from modnet.workloads.matting.metrics import mse
from modnet.workloads.matting.names import ALL_METRICS, FEW_METRICS
from modnet.workloads.matting.predict.predictors import fitting_predictor
from modnet.workloads.matting.settings import MattingTraining

ASPECT_IMAGES = 32  # that tell the aspect of a data set
WORTHWHILE_SHARE = 0.1  # of images of the rarer orientation, from which on a release has an IR for them as well


class Portrait(NamedTuple):
    """One labelled image at network size."""

    image: Tensor  # float32 (1, 3, h, w), RGB, [-1, 1]
    alpha: Tensor  # float32 (1, 1, h, w), [0, 1]


class Portraits:
    """A data set of portraits, see `modnet.workload.LabelledData`."""

    def __init__(self, folder: Path, index: DatasetIndex | None = None) -> None:
        """Pairs images with mattes, as `index_dataset` finds them unless `index` says them; reads none of them yet.

        Raises:
            DatasetError: as `index_dataset`.
        """
        self.folder = folder
        self.index = index_dataset(folder) if index is None else index
        self._splits: dict[Split, tuple[Pair, ...]] = {}  # dividing hashes every name

    def names(self, split: Split) -> list[str]:
        """The stems of a split's pairs."""
        return [pair.stem for pair in self._pairs(split)]

    def files(self, split: Split, position: int) -> tuple[Path, ...]:
        """Image and matte."""
        pair = self._pair(split, position)
        return self.folder / pair.image, self.folder / pair.matte

    def look(self, split: Split, position: int) -> Looked:
        """The image beside its matte, and what is wrong with the matte."""
        pair = self._pair(split, position)
        image_path, matte_path = self.folder / pair.image, self.folder / pair.matte
        image, matte = read_image(image_path), read_matte16(matte_path)
        check_same_size(image_path, image.shape[:2], matte_path, matte.shape)
        _require_fit(image_path, image)
        return Looked(image, (matte >> 8).astype(np.uint8), faults_of(matte))

    def input_shapes(self) -> tuple[Shape, ...]:
        """Of the median of longer by shorter side over images from all along fit; square where none can be read."""
        count = len(self.names("fit"))
        looked_at = min(ASPECT_IMAGES, count)
        sizes = []
        for index in range(looked_at):
            try:
                height, width, _ = read_image(self.files("fit", index * count // looked_at)[0]).shape
            except DatasetError:  # whoever trains on it counts it
                continue
            sizes.append((height, width))
        upright = (SIDE, _short_side(float(np.median([max(size) / min(size) for size in sizes])) if sizes else 1.0))
        long = [size for size in sizes if _short_side(max(size) / min(size)) < SIDE]  # the others fit either way
        portraits = sum(height > width for height, width in long)
        rarer = min(portraits, len(long) - portraits)
        is_worthwhile = bool(sizes) and rarer >= WORTHWHILE_SHARE * len(sizes)
        return orientations(upright if 2 * portraits >= len(long) else upright[::-1], turned=is_worthwhile)

    def training_set(self, split: Split, config: TrainingConfig, shape: Shape, seed: int) -> MattingDataset:
        """Crops with trimap and matte."""
        augment = config.augmentation if isinstance(config, MattingTraining) else True
        return MattingDataset(self.folder, self._pairs(split), size=shape, seed=seed, augment=augment)

    def sample(self, split: Split, position: int, short_side: int) -> Portrait:
        """The portrait shrunk or enlarged, with its aspect nearly kept.

        Raises:
            DatasetError: it cannot be read, or is so narrow that it would be blown up; names the file.
        """
        pair = self._pair(split, position)
        image, alpha = self._read(pair)
        _require_fit(self.folder / pair.image, image)
        scale = short_side / min(alpha.shape)
        height, width = (max(32, round(side * scale / 32) * 32) for side in alpha.shape)
        target = torch.from_numpy(resize(alpha, height, width)).clamp(0, 1)
        pixels = torch.from_numpy(normalise(resize(image, height, width)))
        return Portrait(pixels[None], target[None, None])

    def pixels(self, split: Split, position: int, shape: Shape) -> NDArray[np.float32]:
        """The letterbox of that height and width."""
        image = read_image(self.folder / self._pair(split, position).image)
        return prepare(image, letterbox(shape)).pixels

    def error(self, graph: GraphFunction, split: Split, position: int, shapes: Sequence[Shape] = ()) -> float:
        """The MSE at original size, in [0, 1]."""
        pair = self._pair(split, position)
        image, alpha = self._read(pair)
        predicted = fitting_predictor(graph, shapes)(image)
        return mse(checked_alpha(predicted, image, pair.stem), alpha)

    def scores(
        self, graph: GraphFunction, split: Split, shapes: Sequence[Shape] = (), *, every_error: bool = False
    ) -> Scores:
        """MSE and MAD at original size; with `every_error` SAD, gradient and connectivity errors as well."""
        predictor = fitting_predictor(graph, shapes)
        metrics = ALL_METRICS if every_error else FEW_METRICS
        return evaluate(predictor, self.folder, self.index, split, predictor.protocol, metrics)

    def sheet(self, graphs: Mapping[str, tuple[GraphFunction, Sequence[Shape]]], split: Split, count: int) -> bytes:
        """Image, true matte, and the matte of each graph."""
        from modnet.report.pictures import SheetRow, sheet  # with matplotlib, which training need not have

        rows = []
        for pair in self._pairs(split)[:count]:
            image, alpha = self._read(pair)
            mattes = (fitting_predictor(graph, shapes)(image) for graph, shapes in graphs.values())
            rows.append(SheetRow(pair.stem, (image, alpha, *mattes)))
        return sheet(rows, ("image", "true matte", *graphs))

    def _pair(self, split: Split, position: int) -> Pair:
        return self._pairs(split)[position]

    def _pairs(self, split: Split) -> tuple[Pair, ...]:
        if split not in self._splits:
            self._splits[split] = self.index.split(split)
        return self._splits[split]

    def _read(self, pair: Pair) -> tuple[Image, Alpha]:
        return read_pair(self.folder / pair.image, self.folder / pair.matte)


def _require_fit(path: Path, image: Image) -> None:
    """Refuses an image that is so narrow that it would be blown up."""
    try:
        input_geometry(image.shape[0], image.shape[1], "aspect")
    except DatasetError as error:
        raise DatasetError(f"image {path}: {error}") from error


def _short_side(aspect: float) -> int:  # of an input whose longer side is `SIDE`
    return max(STRIDE, round(SIDE / aspect / STRIDE) * STRIDE)


def alpha_mse(network: PrunableNetwork, portrait: Sequence[Tensor]) -> Tensor:
    """Mean squared error of the deployed graph's alpha for each image of a batch: (B,), differentiable.

    `portrait` is image (B, 3, h, w) and alpha (B, 1, h, w), as in `Portrait`.
    """
    image, alpha = portrait
    errors: Tensor = (network.deployed()(image) - alpha).square().mean(dim=(1, 2, 3))
    return errors
