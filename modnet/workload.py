"""What the engine asks of a workload: a family of networks with its data, its loss and its published forms.

The word is AlgoPerf's and MLPerf's (Dahl et al. 2023, arXiv 2306.07179). The engine knows no workload. Its callers hand
one over, or the parts of one that a function needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor, nn

from modnet.configs import DistillationConfig
from modnet.data.loading_worker import Samples
from modnet.errors import ConfigError
from modnet.network import NetworkSpec, PrunableNetwork

Sample = tuple[Tensor, ...]
"""What a data set gives: a named tuple of tensors. The network's inputs come first, in their order."""

Loss = Callable[[Any, Any], dict[str, Tensor]]
"""(prediction, batch) → the terms of the loss by name, scalars of at least 0. Their sum is minimised."""


SampleT_co = TypeVar("SampleT_co", bound=Sample, covariant=True)


class TrainingSet(Samples[SampleT_co], Protocol[SampleT_co]):
    """Samples, and what says which they are.

    Attributes:
        folder: of the files.
        files: that samples are made of, relative to the folder.
        seed: of what happens at random inside a sample.
    """

    folder: Path
    seed: int

    @property
    def files(self) -> tuple[str, ...]: ...


ReadPublished = Callable[[Mapping[str, Tensor], str, Path | None], tuple[NetworkSpec, Mapping[str, Tensor], str]]
"""(tensors by published names, what they are of, a published file beside the checkpoint or None) → (spec, tensors by
our names, the layout's name). Raises CheckpointError where they are of no known layout, or disagree with that file."""


class Teaching(Protocol):
    """A teacher beside its student, made for one training.

    Attributes:
        adapters: what the training learns beside the student; nobody deploys it.
    """

    adapters: nn.ModuleList

    def learn(
        self, student: Any, inputs: Sample, predict: Callable[[Any, Sample], Any]
    ) -> tuple[Any, dict[str, Tensor]]:
        """What the student predicts of a batch of inputs, and how far it is from the teacher: weighted terms by name.

        Args:
            student: the network that is trained.
            inputs: of a batch.
            predict: a network and inputs → its prediction, in the number format of the training.
        """


Network_co = TypeVar("Network_co", bound=PrunableNetwork, covariant=True)


@dataclass(frozen=True)
class Workload(Generic[Network_co]):
    """A family of networks and what the engine needs to train and keep one.

    Attributes:
        name: as its networks have it.
        spec: the sizes of its networks.
        network: a spec → the network with random weights.
        loss: see `Loss`.
        teaching: (teacher, student, config) → a `Teaching`; None: its networks cannot teach.
        read_published: reads checkpoints of others; None: there are none.
    """

    name: str
    spec: type[NetworkSpec]
    network: Callable[[Any], Network_co]
    loss: Loss
    teaching: Callable[[Any, Any, DistillationConfig], Teaching] | None = None
    read_published: ReadPublished | None = None


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
