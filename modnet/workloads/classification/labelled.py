"""Class folders on this machine, as the engine asks for labelled data."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from modnet.configs import TrainingConfig
from modnet.configs.shape import shown
from modnet.data.images import read_image
from modnet.errors import DatasetError
from modnet.graph_function import GraphFunction
from modnet.progress import progress_over
from modnet.records import ImageScore, Scores
from modnet.targets import STRIDE, Shape
from modnet.workload import Looked, Split
from modnet.workloads.classification.dataset import ClassDataset, ClassSample
from modnet.workloads.classification.folders import Labelled, index_classes
from modnet.workloads.classification.predict import LARGEST_SIDE
from modnet.workloads.classification.preprocessing import fitting, logits_of, prepare, ranked, shares
from modnet.workloads.classification.settings import ClassAugmentation, ClassTraining

SIDE_IMAGES = 32  # that tell the side of a data set's input
SMALLEST_SIDE = 64  # of an input, in pixels: a network that shrinks 32 times sees little of less
TOP = 5  # classes, of which one shall be the true one


class ClassFolders:
    """A data set of class folders, see `modnet.workload.LabelledData`.

    Attributes:
        classes: their names, in the order of the labels.
    """

    def __init__(self, folder: Path) -> None:
        """Finds the images; reads none of them yet.

        Raises:
            DatasetError: as `index_classes`.
        """
        self.folder = folder
        self.classes, self._splits = index_classes(folder)

    def names(self, split: Split) -> list[str]:
        """Class and file of each image."""
        return [one.name for one in self._splits[split]]

    def files(self, split: Split, position: int) -> tuple[Path, ...]:
        """The image, whose folder is its label."""
        return (self.folder / self._image(split, position).path,)

    def look(self, split: Split, position: int) -> Looked:
        """The image; a class has no picture, and nothing is wrong with it by itself."""
        return Looked(read_image(*self.files(split, position)), None)

    def input_shapes(self) -> tuple[Shape, ...]:
        """One square: the median short side of images from all along fit, by 32, from 64 to 224 pixels."""
        return self._input_shapes

    @cached_property
    def _input_shapes(self) -> tuple[Shape, ...]:  # asked for with every image
        images = self._splits["fit"]
        sides = []
        for index in range(min(SIDE_IMAGES, len(images))):
            try:
                sides.append(min(read_image(*self.files("fit", index * len(images) // SIDE_IMAGES)).shape[:2]))
            except DatasetError:  # whoever trains on it counts it
                continue
        wanted = STRIDE * round(float(np.median(sides)) / STRIDE) if sides else LARGEST_SIDE
        side = min(max(wanted, SMALLEST_SIDE), LARGEST_SIDE)
        return ((side, side),)

    def training_set(self, split: Split, config: TrainingConfig, shape: Shape, seed: int) -> ClassDataset:
        """Crops with the number of their class."""
        augment = config.augmentation if isinstance(config, ClassTraining) else ClassAugmentation()
        return ClassDataset(self.folder, self._splits[split], size=shape, seed=seed, augment=augment)

    def sample(self, split: Split, position: int, short_side: int) -> ClassSample:
        """The centre of the image as a square of that side."""
        pixels = self.pixels(split, position, (short_side, short_side))
        return ClassSample(torch.from_numpy(pixels), torch.tensor([self._image(split, position).label]))

    def pixels(self, split: Split, position: int, shape: Shape) -> NDArray[np.float32]:
        """The centre of the image at that height and width."""
        return prepare(read_image(*self.files(split, position)), shape)

    def error(self, graph: GraphFunction, split: Split, position: int, shapes: Sequence[Shape] = ()) -> float:
        """0 where the class of the highest logit is the true one, otherwise 1. Without shapes: at the data's own."""
        return self._errors(graph, split, position, shapes or self.input_shapes())["top1"]

    def scores(
        self, graph: GraphFunction, split: Split, shapes: Sequence[Shape] = (), *, every_error: bool = False
    ) -> Scores:
        """Shares of images whose true class is not the first, and of 6 classes or more is not among the first 5."""
        shapes = shapes or self.input_shapes()
        images = self._splits[split]
        per_image = []
        for position, image in enumerate(progress_over(images, f"evaluating {split}", "image")):
            try:
                errors = self._errors(graph, split, position, shapes)
            except DatasetError as error:
                raise self._unreadable(split) from error
            per_image.append(ImageScore(stem=image.name, errors=errors))
        means = {name: float(np.mean([one.errors[name] for one in per_image])) for name in per_image[0].errors}
        return Scores(
            split=split,
            protocol=f"centre-{'-'.join(map(shown, shapes))}",
            images=len(per_image),
            errors=means,
            per_image=tuple(per_image),
        )

    def sheet(self, graphs: Mapping[str, tuple[GraphFunction, Sequence[Shape]]], split: Split, count: int) -> bytes:
        """Images with their true class, and beside it the class and share that each graph says."""
        from modnet.report.pictures import png  # with matplotlib, which training need not have
        from modnet.workloads.classification.sheet import SheetLine, class_sheet

        lines = []
        for position, one in enumerate(self._splits[split][:count]):
            said = []
            for graph, shapes in graphs.values():
                logits = self._logits(graph, split, position, shapes or self.input_shapes())
                first = int(ranked(logits, 1)[0])
                said.append((self.classes[first], float(shares(logits)[first])))
            image = read_image(*self.files(split, position))
            lines.append(SheetLine(image, self.classes[one.label], tuple(said)))
        return png(class_sheet(lines, tuple(graphs)))

    def _image(self, split: Split, position: int) -> Labelled:
        return self._splits[split][position]

    def _logits(
        self, graph: GraphFunction, split: Split, position: int, shapes: Sequence[Shape]
    ) -> NDArray[np.float32]:
        image = read_image(*self.files(split, position))
        return logits_of(graph, prepare(image, fitting(shapes, image.shape[:2])), len(self.classes))

    def _errors(self, graph: GraphFunction, split: Split, position: int, shapes: Sequence[Shape]) -> dict[str, float]:
        label = self._image(split, position).label
        first = ranked(self._logits(graph, split, position, shapes), TOP)
        errors = {"top1": float(first[0] != label)}
        return errors | ({"top5": float(label not in first)} if len(self.classes) > TOP else {})

    def _unreadable(self, split: Split) -> DatasetError:
        """What to say when an image cannot be read: all that cannot, so that they are mended at once."""
        problems = []
        for position in range(len(self._splits[split])):
            try:
                read_image(*self.files(split, position))
            except DatasetError as error:
                problems.append(str(error))
        count = len(self._splits[split])
        return DatasetError(
            f"{len(problems)} of {count} images of {self.folder} cannot be read: {'; '.join(problems[:5])}"
        )
