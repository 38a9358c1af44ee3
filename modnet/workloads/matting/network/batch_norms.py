"""A network without instance norms, for devices: batch norms become a part of convolutions, instance norms cannot.

An instance norm (half of every IBNorm) takes sums over all pixels when an image is there, and another pass to apply
them. A batch norm with the mean statistics of some images computes nearly the same for images like these. Training on
makes up for the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from modnet.workloads.matting.network.blocks import IBNorm
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec, SplitWidth


@torch.no_grad()
def with_batch_norms(network: MODNet, images: Sequence[Tensor]) -> MODNet:
    """A copy in evaluation mode whose instance norms are batch norms, with the statistics of what they get.

    Args:
        network: in evaluation mode.
        images: (1, 3, H, W) each; of one alone, the copy computes for it what the network computes.
    """
    moments = _moments_of_instances(network, images)
    spec = ModnetSpec.model_validate(_without_instances(network.spec.model_dump()))
    changed, state = MODNet(spec).eval(), network.state_dict()
    for name, norm in network.named_modules():
        if isinstance(norm, IBNorm) and norm.instance is not None:
            mean, variance = moments[name]
            added = {
                "weight": torch.ones_like(mean),
                "bias": torch.zeros_like(mean),
                "running_mean": mean,
                "running_var": variance,
            }
            for kind, values in added.items():
                own = [] if norm.batch is None else [state[f"{name}.batch.{kind}"]]
                state[f"{name}.batch.{kind}"] = torch.cat([*own, values.float()])
            state.setdefault(f"{name}.batch.num_batches_tracked", torch.tensor(0))
    changed.load_state_dict(state)
    return changed


def _moments_of_instances(network: MODNet, images: Sequence[Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and variance over all images of the channels that each IBNorm gives to its instance norm."""
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {}
    with ExitStack() as at_the_end:
        for name, norm in network.named_modules():
            if isinstance(norm, IBNorm) and norm.instance is not None:

                def measure(norm: nn.Module, inputs: tuple[Tensor], name: str = name) -> None:
                    assert isinstance(norm, IBNorm)
                    values = inputs[0][:, norm.batch_channels :].double()
                    seen.setdefault(name, []).append((values.mean(dim=(0, 2, 3)), values.square().mean(dim=(0, 2, 3))))

                at_the_end.enter_context(norm.register_forward_pre_hook(measure))
        for image in images:
            network(image)
    found = {}
    for name, moments in seen.items():
        mean, square = (torch.stack(one).mean(dim=0) for one in zip(*moments, strict=True))
        found[name] = mean, (square - mean.square()).clamp_min(0)
    return found


def _without_instances(spec: Any) -> Any:
    """The dumped fields of a spec, with every channel in the batch norm's part."""
    if isinstance(spec, dict):
        if spec.keys() == SplitWidth.model_fields.keys():
            return {"batch": spec["batch"] + spec["instance"], "instance": 0}
        return {name: _without_instances(value) for name, value in spec.items()}
    return [_without_instances(one) for one in spec] if isinstance(spec, list | tuple) else spec
