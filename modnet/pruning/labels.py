"""Labels of channels: equal labels are channels that can only be removed together. A union-find over tensors."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Labels:
    """Gives out labels, unites them, and remembers which ones must stay and why.

    A labelled tensor is int64 and has the shape of what it describes: where a value of a channel stands there, its
    label stands here. Whatever moves values moves labels. One that is the same along an axis has stride 0 there, which
    costs neither memory nor time.
    """

    def __init__(self) -> None:
        self._parents: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._fixed: dict[int, str] = {}

    def fresh(self, count: int) -> Tensor:
        """(count,) labels that nothing has yet."""
        start = len(self._parents)
        self._parents = np.concatenate((self._parents, np.arange(start, start + count)))
        return torch.arange(start, start + count)

    def roots(self, labels: Tensor) -> Tensor:
        """The same shape, in which united labels are equal."""
        found: NDArray[np.int64] = labels.numpy()
        while True:
            above = self._parents[found]
            if np.array_equal(above, found):
                return torch.from_numpy(found)
            found = above

    def unite(self, one: Tensor, other: Tensor) -> None:
        """Labels that stand at the same place are one channel from now on; the shapes broadcast."""
        pairs = torch.stack([narrow.flatten() for narrow in _narrowest(*_broadcast(one, other))])
        for first, second in torch.unique(self.roots(pairs), dim=1).T.tolist():
            low, high = sorted((self._root(first), self._root(second)))
            self._parents[high] = low
            if low != high and high in self._fixed:
                self._fixed.setdefault(low, self._fixed.pop(high))

    def unite_along(self, labels: Tensor, *axes: int) -> Tensor:
        """Makes labels the same along axes, and gives them with length 1 there."""
        first = labels
        for axis in axes:
            first = first.narrow(axis, 0, 1)
        self.unite(labels, first)
        return first

    def fix(self, labels: Tensor, why: str) -> None:
        """These channels stay; the first reason that is given is kept."""
        for label in torch.unique(self.roots(_narrowest(labels)[0])).tolist():
            self._fixed.setdefault(label, why)

    def why_fixed(self, label: int) -> str | None:
        """Why a channel stays; None where it may go."""
        return self._fixed.get(self._root(label))

    def vary(self, labels: Tensor, axis: int) -> bool:
        """Whether channels along an axis differ."""
        roots = self.roots(_narrowest(labels)[0])
        return bool((roots != roots.narrow(axis, 0, 1)).any())

    def _root(self, label: int) -> int:
        while self._parents[label] != label:
            label = int(self._parents[label])
        return label


def _broadcast(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    shape = np.broadcast_shapes(one.shape, other.shape)
    return one.expand(shape), other.expand(shape)


def _narrowest(*tensors: Tensor) -> list[Tensor]:
    """The tensors without what repeats in all of them: an axis of stride 0 has length 1 then."""
    narrow = list(tensors)
    for axis in range(tensors[0].dim()):
        if all(tensor.stride(axis) == 0 for tensor in tensors):
            narrow = [tensor.narrow(axis, 0, min(1, tensor.shape[axis])) for tensor in narrow]
    return narrow
