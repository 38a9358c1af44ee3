"""The cost model of a network: what its deployed graph costs at any widths of its groups, without building it."""

from math import prod

from modnet.network import PrunableNetwork
from modnet.policies.cost import CostModel, Term
from modnet.pruning.complexity import layer_costs
from modnet.pruning.groups import Layer, TensorSlice, parts_held, tensor_slices


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
                tuple(part for piece in pieces if piece.axis == axis for part in parts_held(piece, full))
                for axis in sorted({piece.axis for piece in pieces})
            )
            rest = tensor.numel() // prod(tensor.shape[axis] for axis in {piece.axis for piece in pieces})
            multiplies = name == "weight" and isinstance(module, Layer)
            positions = macs // tensor.numel() if multiplies else 0
            terms.append(Term(axes, rest, rest * positions))
    return CostModel(full, tuple(terms))
