"""The pruning law, put to the test on one network: what was removed was the same as nothing."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils._pytree import tree_leaves

from modnet.errors import PruningError
from modnet.network import PrunableNetwork
from modnet.pruning.gates import Removed, gated

Network = TypeVar("Network", bound=nn.Module)

_TOLERANCE = 1e-9  # of the largest value of an output, in float64


def with_random_weights(network: Network, seed: int = 0) -> Network:
    """A copy in float64 and evaluation mode, on the CPU, in whose tensors of real numbers no value is 0 or 1.

    Matrices and filters are normal, of a spread that keeps signals alive. Scales and variances are 0.5 to 1.5, shifts
    and means -0.5 to 0.5.
    """
    generator = torch.Generator().manual_seed(seed)
    network = copy.deepcopy(network).cpu().double().eval()
    for name, tensor in network.state_dict().items():
        if not tensor.dtype.is_floating_point:
            continue
        if tensor.dim() > 1:
            spread = 2.0 / max(1, tensor[0].numel()) ** 0.5
            tensor.copy_(torch.randn(tensor.shape, dtype=tensor.dtype, generator=generator) * spread)
        else:
            is_shift = name.endswith(("bias", "running_mean"))
            values = torch.rand(tensor.shape, dtype=tensor.dtype, generator=generator)
            tensor.copy_(values - 0.5 if is_shift else values + 0.5)
    return network


def require_law(
    network: PrunableNetwork, removed: Removed, compact: nn.Module, example_inputs: Sequence[Tensor]
) -> None:
    """Compares a compact network with the original whose removed channels are multiplied by zero where they are read.

    Both compute random inputs of the examples' shapes in evaluation mode. Both must be in float64, and have weights
    that hide nothing, see `with_random_weights`: behind a scale of zero every way of slicing tensors is right.

    Raises:
        PruningError: they differ, or the compact one does not run: the code of the network counts on a number of
            channels that no attribute of its module says. Names the module that failed.
    """
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(one.shape, dtype=torch.float64, generator=generator) for one in example_inputs]
    with torch.no_grad():
        with gated(network, {name: (~gone).double() for name, gone in removed.items()}):
            wanted = tree_leaves(network(*inputs))
        with _failing_module(compact):
            got = tree_leaves(compact(*inputs))
    for number, (one, other) in enumerate(zip(got, wanted, strict=True)):
        if one.shape != other.shape:
            difference = f"got shape {tuple(one.shape)}, wanted {tuple(other.shape)}"
        elif (worst := float((one - other).abs().max() / other.abs().max().clamp_min(1e-30))) <= _TOLERANCE:
            continue
        else:
            difference = f"it differs by {worst:.1e} of the largest value"
        raise PruningError(
            f"output {number} of the pruned network is not that of the masked one: {difference}. Its code takes "
            "channels by places that pruning changes; exclude the layers before it"
        )


@contextmanager
def _failing_module(network: nn.Module) -> Iterator[None]:
    """An error within the block says which module was running."""
    names = {id(module): name for name, module in network.named_modules()}
    last = [""]

    def enter(module: nn.Module, _inputs: Any) -> None:
        last[0] = names.get(id(module), last[0])

    hook = register_module_forward_pre_hook(enter)
    try:
        yield
    except Exception as error:  # the code of any network may raise anything
        reason = str(error).strip().partition("\n")[0]
        raise PruningError(
            f"the pruned network does not run, at {last[0] or 'its forward'}: {type(error).__name__}: {reason}. Its "
            "code counts on a number of channels that no attribute of the module says; exclude the layers before it"
        ) from error
    finally:
        hook.remove()
