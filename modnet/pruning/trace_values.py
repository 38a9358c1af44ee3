"""What stands for values while a graph is walked: labels, in the shapes and containers of the values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.fx import Node


@dataclass(frozen=True)
class State:
    """A parameter or buffer where the graph reads it."""

    name: str
    shape: tuple[int, ...]


def spread(labels: Tensor, axis: int, shape: Sequence[int]) -> Tensor:
    """(count,) labels as those of a tensor whose axis they run along."""
    ones = [1] * len(shape)
    ones[axis] = -1
    return labels.view(ones).expand(tuple(shape))


def tensors_in(values: Any) -> list[Any]:
    """All labels and states in nested arguments."""
    if isinstance(values, Tensor | State):
        return [values]
    if isinstance(values, Mapping):
        values = list(values.values())
    return [found for value in values for found in tensors_in(value)] if isinstance(values, list | tuple) else []


def map_values(values: Any, change: Callable[[Tensor], Any]) -> Any:
    """Changes what an operation gives: one tensor, or several."""
    if isinstance(values, Tensor):
        return change(values)
    return tuple(map_values(value, change) for value in values) if isinstance(values, list | tuple) else None


def path_of(node: Node) -> str:
    """The module whose code runs an operation; empty for the network itself."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return str(stack[-1][0]) if stack else ""


def where(node: Node) -> str:
    """The same in words."""
    return path_of(node) or "the network itself"
