"""The cost model of a network: what its deployed graph costs at any widths of its groups, without building it."""

from itertools import accumulate
from math import prod

from torch import nn

from modnet.network import PrunableNetwork
from modnet.policies.cost import CostModel, Term
from modnet.pruning.complexity import layer_costs
from modnet.pruning.groups import TensorSlice, tensor_slices


def cost_model(model: PrunableNetwork, size: int = 512) -> CostModel:
    """Parameters and MACs of a network's deployed graph for one `size` × `size` image.

    Raises:
        PruningError: the network's groups do not account for all its channels.
    """
    groups = model.channel_groups()
    full = {group.name: group.parts for group in groups}
    slices: dict[str, list[TensorSlice]] = {}
    for piece in tensor_slices(model, groups):
        slices.setdefault(piece.tensor, []).append(piece)
    terms = []
    for path, (_, macs) in layer_costs(model, size).items():
        module = model.get_submodule(path)
        for name, tensor in module.named_parameters(recurse=False):
            pieces = slices[f"{path}.{name}"]
            axes = tuple(
                tuple(part for piece in pieces if piece.axis == axis for part in _parts(piece, full))
                for axis in sorted({piece.axis for piece in pieces})
            )
            rest = tensor.numel() // prod(tensor.shape[axis] for axis in range(len(axes)))
            multiplies = name == "weight" and isinstance(module, nn.Conv2d | nn.Linear)
            positions = macs // tensor.numel() if multiplies else 0
            terms.append(Term(axes, rest, rest * positions))
    return CostModel(full, tuple(terms))


def _parts(piece: TensorSlice, full: dict[str, tuple[int, ...]]) -> list[tuple[str, int]]:  # (group, index)
    ends = list(accumulate(full[piece.group]))
    return [(piece.group, part) for part in range(ends.index(piece.length) + 1)]
