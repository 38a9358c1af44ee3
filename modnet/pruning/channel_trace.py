"""What is known of a network's channels while it is traced, and afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from modnet.pruning.labels import Labels
from modnet.pruning.trace_values import State


class ChannelTrace:
    """Labels of all channels of a network; equal `labels.roots` are one channel.

    Attributes:
        made: module → (out_channels,) of what it computes, in order of running.
        read: module → (in_channels,) of what it reads; depthwise convolutions are not there.
        tensors: (name in the state dict, axis) → a label for each position.
        wholes: name in the state dict → a label for each element, of tensors that are used as values.
        norms: convolution or linear layer → the batch norm that is all that reads it.
        sizes: (module, attribute) that says how many channels there are → (count,) of the channels that it counts.
        unknown: what was not followed, as sentences.
        values: of each operation, labels in place of values.
        layers: of each operation of a layer, the module's path.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self.labels = Labels()
        self.made: dict[str, Tensor] = {}
        self.read: dict[str, Tensor] = {}
        self.tensors: dict[tuple[str, int], Tensor] = {}
        self.wholes: dict[str, Tensor] = {}
        self.norms: dict[str, str] = {}
        self.sizes: dict[tuple[str, str], Tensor] = {}
        self.unknown: list[str] = []
        self.values: dict[Node, Any] = {}
        self.layers: dict[Node, str] = {}

    def arguments(self, arguments: Any) -> Any:
        """Arguments of a node: labels, `State` of parameters, numbers and lists of these."""
        return torch.fx.node.map_arg(arguments, lambda node: self.values[node])

    def values_of(self, value: Any) -> Tensor:
        """The labels of a tensor as values: those of a parameter one by one, if it is one."""
        if not isinstance(value, State):
            labels: Tensor = value
            return labels
        if value.name not in self.wholes:
            count = torch.Size(value.shape).numel()
            self.wholes[value.name] = self.labels.fresh(count).view(value.shape)
        return self.wholes[value.name]

    def channels(self, labels: Tensor, axis: int) -> Tensor:
        """(count,) labels along an axis: what reads it reads a channel as a whole."""
        others = [one for one in range(labels.dim()) if one != axis % labels.dim()]
        return self.labels.unite_along(labels, *others).flatten()

    def layer(self, weight: Any, *kinds: type[nn.Module]) -> tuple[str, Any] | None:
        """Path and module of a parameter's layer; None where it is none of these kinds, or the weight is computed."""
        if not isinstance(weight, State):
            return None
        path = weight.name.rpartition(".")[0]
        module = self._network.get_submodule(path)
        return (path, module) if isinstance(module, kinds) else None

    def numbers_of(self, path: str) -> list[tuple[str, int]]:
        """The attributes of a module that are whole numbers, in the order in which it has them."""
        attributes = vars(self._network.get_submodule(path)).items()
        return [(name, value) for name, value in attributes if type(value) is int]

    def holds(self, state: State | None, axis: int, labels: Tensor) -> None:
        """Positions of an axis of a parameter are of these channels; None is a parameter that there is not."""
        if state is not None:
            self._note(self.tensors, (state.name, axis), labels)

    def makes(self, node: Node, path: str, labels: Tensor) -> None:
        """A layer computes these channels, here."""
        self._note(self.made, path, labels)
        self.layers[node] = path

    def reads(self, path: str, labels: Tensor) -> None:
        """A layer reads these channels."""
        self._note(self.read, path, labels)

    def follows(self, maker: str, norm: str) -> None:
        """A norm is all that reads a layer."""
        self.norms.setdefault(maker, norm)

    def counts(self, path: str, labels: Tensor, *attributes: str) -> None:
        """Attributes of a module, of those that have this value, say how many channels there are.

        Channels that one attribute counts in several tensors go together.
        """
        own = dict(self.numbers_of(path))
        for name in attributes:
            if own.get(name) == len(labels):
                self._note(self.sizes, (path, name), labels)

    def keeps(self, shape: Sequence[int], why: str) -> Tensor:
        """Labels of what is one channel that stays."""
        label = self.labels.fresh(1)
        self.labels.fix(label, why)
        return label.reshape((1,) * len(shape)).expand(tuple(shape))

    def give_up(self, labels: Tensor, why: str) -> None:
        """These channels stay because something is not followed."""
        self.labels.fix(labels, why)
        if why not in self.unknown:
            self.unknown.append(why)

    def _note(self, where: dict[Any, Tensor], key: Any, labels: Tensor) -> None:
        if key in where:  # of a layer that has run before, or an attribute that counts in several tensors
            self.labels.unite(where[key], labels)
        where.setdefault(key, labels)
