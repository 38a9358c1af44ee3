"""What the engine asks of a workload: a family of networks with its data, its loss and its published forms.

The word is AlgoPerf's and MLPerf's (Dahl et al. 2023, arXiv 2306.07179). The engine knows no workload. Its callers hand
one over, or the parts of one that a function needs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from modnet.configs import TrainingConfig
from modnet.data.loading_worker import Samples
from modnet.errors import ConfigError
from modnet.graph_function import GraphFunction, Pixels
from modnet.network import NetworkSpec, PrunableNetwork
from modnet.records import Scores
from modnet.targets import Shape

Sample = tuple[Tensor, ...]
"""What a data set gives: a named tuple of tensors. The network's inputs come first, in their order."""

Split = Literal["fit", "tune", "val"]  # networks learn on `fit`, choices are made on `tune`, and `val` only reports

Loss = Callable[[Any, Any], dict[str, Tensor]]
"""(prediction, batch) → the terms of the loss by name, scalars of at least 0. Their sum is minimised."""


SampleT_co = TypeVar("SampleT_co", bound=Sample, covariant=True)


class TrainingSet(Samples[SampleT_co], Protocol[SampleT_co]):
    """Samples of a height and width in pixels, and what says which they are: `files` are relative to the folder."""

    folder: Path
    shape: Shape
    seed: int

    @property
    def files(self) -> tuple[str, ...]: ...


class Fault(NamedTuple):
    """What is wrong with one label, as can be seen in it and its image alone."""

    kind: str  # what the label is called where it has this fault, in the plural: a finding is of one kind and split
    got: str
    wanted: str  # the same for all of a kind
    spoils: bool  # whether a split where at least half of the labels have it is of no use


class Looked(NamedTuple):
    """A labelled image as people look at it, at its own size."""

    image: NDArray[np.uint8]  # (H, W, 3), RGB
    label: NDArray[np.uint8] | None  # (h, w) or (h, w, 3), RGB: a picture of it, if there is one
    faults: tuple[Fault, ...] = ()


class LabelledData(Protocol):
    """A data set on this machine: what networks learn from, and what says how much they err.

    A split is a row of labelled images, and a position in it counts from 0.
    """

    def names(self, split: Split) -> Sequence[str]:
        """What its images are called, in order; as many as there are.

        Raises:
            DatasetError: there is no such split in so small a data set.
        """

    def files(self, split: Split, position: int) -> tuple[Path, ...]:
        """What an image and its label are read from."""

    def look(self, split: Split, position: int) -> Looked:
        """An image and its label with what is wrong with the label.

        Raises:
            DatasetError: one of them cannot be read, they do not fit, or nothing can be made of them.
        """

    def input_shapes(self) -> tuple[Shape, ...]:
        """Heights and widths, multiples of 32, that its images fill: the longer side is at most 512 pixels.

        One; two where it holds both orientations: that of the commoner one first, then the same turned.
        """

    def training_set(self, split: Split, config: TrainingConfig, shape: Shape, seed: int) -> TrainingSet[Any]:
        """Samples of a height and width, changed at random: as usual where the config does not say how."""

    def sample(self, split: Split, position: int, short_side: int) -> Sample:
        """An image at network size as a batch of one, unchanged otherwise; its short side is in pixels, by 32."""

    def pixels(self, split: Split, position: int, shape: Shape) -> NDArray[np.float32]:
        """What a network of fixed input reads of an image, as devices give it: (1, C, *shape) in [-1, 1]."""

    def error(self, graph: GraphFunction, split: Split, position: int, shapes: Sequence[Shape] = ()) -> float:
        """The deciding error of a deployed graph on one image.

        The image is given as the one of the shapes that fits it best: heights and widths that the network reads, in
        pixels. Without any it reads any, as published networks are compared.
        """

    def scores(
        self, graph: GraphFunction, split: Split, shapes: Sequence[Shape] = (), *, every_error: bool = False
    ) -> Scores:
        """The errors of a deployed graph on a split; for the shapes see `error`. Some take long: with `every_error`.

        Raises:
            DatasetError: the split is empty, or images cannot be read; all of these are counted.
        """

    def sheet(self, graphs: Mapping[str, tuple[GraphFunction, Sequence[Shape]]], split: Split, count: int) -> bytes:
        """The first `count` images of a split with what is true and what each graph makes of them, PNG.

        Graphs are by title, each with the shapes that it reads, see `error`.
        """


ReadPublished = Callable[[Mapping[str, Tensor], str, Path | None], tuple[NetworkSpec, Mapping[str, Tensor], str]]
"""(tensors by published names, what they are of, a published file beside the checkpoint or None) → (spec, tensors by
our names, the layout's name). Raises CheckpointError where they are of no known layout, or disagree with that file."""


class Teaching(Protocol):
    """A teacher beside its student, made for one training, which learns the adapters as well; nobody deploys them."""

    adapters: nn.ModuleList

    def learn(
        self, student: Any, inputs: Sample, predict: Callable[[Any, Sample], Any]
    ) -> tuple[Any, dict[str, Tensor]]:
        """What the student predicts of a batch of inputs, and how far it is from the teacher: weighted terms by name.

        `predict` makes of a network and inputs its prediction, in the number format of the training.
        """


Network_co = TypeVar("Network_co", bound=PrunableNetwork, covariant=True)


@dataclass(frozen=True)
class Workload(Generic[Network_co]):
    """A family of networks with its data, its loss, its errors and its published forms."""

    name: str  # as its networks, data sets, checkpoints and manifests have it
    spec: type[NetworkSpec]  # the sizes of its networks
    network: Callable[[Any], Network_co]  # a spec → the network with random weights
    loss: Loss  # see `Loss`
    # names of what `LabelledData.scores` measures, with the titles that tables give them. The first one decides. Lower
    # is better: where a published figure grows with quality, as mAP does, the error is 1 minus it
    errors: Mapping[str, str]
    # (network, batch) → (B,), the deciding error of the deployed graph at network size, differentiable
    error: Callable[[PrunableNetwork, Sequence[Tensor]], Tensor]
    # the folder of an extracted archive → its data. Raises DatasetError where it is no such data set
    open: Callable[[Path], LabelledData]
    # data → the sizes of the unpruned network that learns from it; None: the full one, whatever the data
    unpruned_for: Callable[[Any], NetworkSpec] | None = None
    # (names of a network's outputs, data); raises ConfigError where it answers another question than the data asks, as
    # of other classes. None: all fit
    require_fit: Callable[[Sequence[str], Any], None] | None = None
    shipped: Mapping[str, Path] = field(default_factory=dict)  # words → checkpoints that the project brings along
    # height and width → a few made-up images as its networks read them, (N, C, H, W) in [-1, 1], the same each time:
    # devices compute them before they measure. None: there are none, and nobody checks what a device computes
    golden: Callable[[Shape], Pixels] | None = None
    # (teacher, student, its `distillation`) → a `Teaching`; None: its networks cannot teach
    teaching: Callable[[Any, Any, Any], Teaching] | None = None
    read_published: ReadPublished | None = None  # reads checkpoints of others; None: there are none
    # gives an unpruned network a published backbone: (network, file, images (1, C, S, S) that its norms are measured
    # on); None: there is none
    start_from: Callable[[Any, Path, Sequence[Tensor]], object] | None = None

    def unpruned(self, data: LabelledData) -> Network_co:
        """The network that learns from the data, with random weights."""
        return self.network(self.spec.full() if self.unpruned_for is None else self.unpruned_for(data))

    def checked(self, data: LabelledData, output_names: Sequence[str]) -> LabelledData:
        """The data, which a network of these outputs is sure to fit.

        Raises:
            ConfigError: it does not, see `require_fit`.
        """
        if self.require_fit is not None:
            self.require_fit(output_names, data)
        return data

    @property
    def title(self) -> str:
        """Of the deciding error, in tables and sentences."""
        return next(iter(self.errors.values()))

    def overall(self, scores: Scores) -> dict[str, float]:
        """Those of its errors that were measured: what scores hold of parts of images is left out."""
        return {name: scores.errors[name] for name in self.errors if name in scores.errors}


def inputs_of(network: PrunableNetwork, sample: Sample) -> Sample:
    """The part of a sample, or of a batch, that the network reads.

    Raises:
        ConfigError: the sample has fewer tensors than the network inputs, or others.
    """
    given = sample[: len(network.inputs)]
    if len(given) < len(network.inputs) or any(
        tensor.shape[-3] != wanted.channels for tensor, wanted in zip(given, network.inputs, strict=True)
    ):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in given)
        wanted_shapes = ", ".join(f"{one.name} (…, {one.channels}, H, W)" for one in network.inputs)
        raise ConfigError(
            f"a {type(sample).__name__} does not fit a {type(network).__name__}: got tensors of {shapes}, "
            f"wanted first {wanted_shapes}"
        )
    return given
