"""What the engine asks of a network: which channels go together, what is deployed, and how it shrinks.

A network names its layers by their modules' paths. `modnet.pruning.groups` turns these names into slices of tensors.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple, Self, TypeVar

from pydantic import BaseModel, ValidationError
from torch import Tensor, nn

from modnet.errors import CheckpointError

AdaptiveRule = Literal["adaptive", "ratio", "keep"]


Places = tuple[tuple[int, ...], ...]
"""For each channel of a group the positions that hold it: one usually, several where it is held several times."""


class Held(NamedTuple):
    """Position `positions[i]` holds channel `channels[i]`."""

    positions: Sequence[int]
    channels: Sequence[int]


def _held(places: Places | None, channels: int, offset: int = 0) -> Held:
    if places is None:
        return Held(range(offset, offset + channels), range(channels))
    return Held(
        [position for one in places for position in one],
        [channel for channel, one in enumerate(places) for _ in one],
    )


@dataclass(frozen=True)
class Producer:
    """A convolution or linear layer whose outputs are a group's channels, and the batch norm that follows it.

    The norm may be narrower than the group: it then holds the group's first channels, as in IBNorm.
    """

    module: str
    norm: str | None = None
    places: Places | None = None  # which outputs; None: output i is channel i

    def held(self, channels: int) -> Held:
        """Which outputs of the layer hold which of the group's channels."""
        return _held(self.places, channels)


@dataclass(frozen=True)
class Consumer:
    """A layer that reads a group's channels, from position `offset` of its (concatenated) inputs on."""

    module: str
    offset: int = 0
    places: Places | None = None  # which inputs, where they are not in a row

    def held(self, channels: int) -> Held:
        """Which inputs of the layer hold which of the group's channels."""
        return _held(self.places, channels, self.offset)


@dataclass(frozen=True)
class Carrier:
    """A tensor that has a value for each channel without making or reading it: a norm behind a concatenation."""

    tensor: str  # name in the state dict
    axis: int
    places: Places  # none for a channel that it does not hold

    def held(self, channels: int) -> Held:
        """Which positions of the axis hold which of the group's channels."""
        return _held(self.places, channels)


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that can only be removed together, in every tensor that holds them."""

    name: str  # unique in its network; what configs, plans and reports call the group
    parts: tuple[int, ...]  # channels of each part, in order; a channel never leaves its part (the halves of an IBNorm)
    # what makes these channels: convolutions, depthwise ones, linear layers. Several when their outputs meet channel by
    # channel: residual partners, expand and depthwise, gates
    producers: tuple[Producer, ...] = ()
    consumers: tuple[Consumer, ...] = ()  # what reads them, after norm, activation and residual add
    carriers: tuple[Carrier, ...] = ()  # what else must lose values with them
    # what the adaptive policy does: follow its threshold, its ratio, or keep every channel
    adaptive_rule: AdaptiveRule = "adaptive"
    prunable: bool = True  # False for what the outside world decides: an image's channels, a prediction's one

    @property
    def channels(self) -> int:
        """Channels of all parts."""
        return sum(self.parts)

    def first_part(self) -> Self:
        """The group after the channels of every other part have gone: those parts are empty."""
        return replace(self, parts=(self.parts[0], *(0 for _ in self.parts[1:])))


@dataclass(frozen=True)
class Input:
    """One input of a network: float32 (B, channels, H, W) in [-1, 1]; `name` is that in exported graphs."""

    name: str
    channels: int


class FoldableLayer(nn.Module, ABC):
    """A convolution with its norm, which can become one."""

    @abstractmethod
    def fold(self) -> None:
        """Puts the norm into the convolution, in place: in evaluation mode the layer computes the same."""


class NetworkSpec(BaseModel, frozen=True, extra="forbid"):
    """The sizes of a network as final numbers. A checkpoint carries them, and needs nothing else to be loaded."""

    @classmethod
    @abstractmethod
    def full(cls) -> Self:
        """The published network."""

    @classmethod
    @abstractmethod
    def tiny(cls) -> Self:
        """The same shape of network, small enough for tests."""

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads a spec that `model_dump_json` wrote.

        Raises:
            CheckpointError: not JSON, or not a spec; names the offending fields.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'spec'}: {e['msg']}" for e in error.errors())
            raise CheckpointError(f"not a {cls.__name__}: {problems}") from error


class PrunableNetwork(nn.Module, ABC):
    """What the engine asks of a network."""

    spec: NetworkSpec  # its sizes, as final numbers; the network is built from it, and a checkpoint carries it
    workload: ClassVar[str]  # the name of the workload that it belongs to; a checkpoint carries it
    # of the network and of what is deployed of it, in order
    inputs: tuple[Input, ...] = (Input("input", channels=3),)
    # of its output along axis 1, where these have names, as classes do; exported graphs carry them
    output_names: tuple[str, ...] = ()
    # what it is called with, where it does not read images of any size
    example_inputs: tuple[Tensor, ...] | None = None

    @abstractmethod
    def channel_groups(self) -> tuple[ChannelGroup, ...]:
        """Every channel of every tensor, in groups."""

    @abstractmethod
    def deployed(self) -> nn.Module:
        """What runs on devices: `inputs` in, one tensor out; shares its weights with this network."""

    @abstractmethod
    def resized(self, widths: Mapping[str, tuple[int, ...]]) -> Self:
        """A fresh network of the same kind in which the named groups have the given channels per part."""

    def pretrained_part(self) -> nn.Module | None:
        """What was trained for something else before, and may stay as it is in a training; None: there is none."""
        return None


Network = TypeVar("Network", bound=PrunableNetwork)


def folded(network: PrunableNetwork) -> nn.Module:
    """A copy of the deployed part in evaluation mode, float32 on the CPU, that computes the same with fewer layers."""
    model = copy.deepcopy(network).cpu().float().deployed().eval()
    for module in model.modules():
        if isinstance(module, FoldableLayer):
            module.fold()
    return model
