"""Rewriting a graph in place: what one operation computes is computed by others, under its name."""

from collections.abc import Callable
from typing import TypeVar

import openvino as ov

_Found = TypeVar("_Found")


def rewritten(
    model: ov.Model, find: Callable[[ov.Node], _Found | None], make: Callable[[ov.Node, _Found], ov.Node]
) -> int:
    """Puts what `make` gives in the place of each operation in which `find` finds something; returns how many."""
    count = 0
    for operation in model.get_ordered_ops():
        if found := find(operation):
            put_in_place(operation, make(operation, found))
            count += 1
    model.validate_nodes_and_infer_types()
    return count


def put_in_place(old: ov.Node, new: ov.Node) -> None:
    """Whoever read `old` reads `new`, which gets its name."""
    name = old.get_friendly_name()
    old.output(0).replace(new.output(0))
    new.set_friendly_name(name)
