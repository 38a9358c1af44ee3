"""In which number format a training step runs."""

from __future__ import annotations

import copy
import time
from typing import Literal

import torch
from torch import Tensor

from modnet.workloads.matting.data.dataset import Sample
from modnet.workloads.matting.losses import matting_loss
from modnet.workloads.matting.network.modnet import MattePrediction, MODNet

Format = Literal["fp32", "bf16"]

WORTH_IT = 0.85  # of the time in float32: what has to be reached, so that noise does not decide
_ROUNDS = 3


def computes_bf16(device: torch.device) -> bool:
    """True where bfloat16 arithmetic is done by the processor and not emulated."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def fastest_format(network: MODNet, batch: Sample) -> Format:
    """bf16 where a step of this network on this batch clearly gains from it, measured; otherwise fp32.

    Having bfloat16 instructions does not mean that a step is faster with them: it depends on widths and image size.
    The fastest steps are compared: what else the machine does at the moment makes others slower, never faster.
    """
    if not computes_bf16(batch.image.device):
        return "fp32"
    seconds: dict[Format, list[float]] = {"fp32": [], "bf16": []}
    trial = copy.deepcopy(network)
    for round_ in range(1 + _ROUNDS):  # the first warms up
        for number_format, taken in seconds.items():
            began = time.perf_counter()
            _trial_step(trial, batch, number_format)
            if round_:
                taken.append(time.perf_counter() - began)
    return "bf16" if min(seconds["bf16"]) < WORTH_IT * min(seconds["fp32"]) else "fp32"


def predict(network: MODNet, image: Tensor, number_format: Format) -> MattePrediction:
    """What the network says of (B, 3, H, W) images, computed in a format and given in float32.

    Sums over a whole matte, as losses are, lose too much in bfloat16. On a CPU channels come last in either format:
    with the 19 or 48 that a pruned network's convolutions read, the plain layout takes up to twice as long.
    """
    uses_bf16, on_cpu = number_format == "bf16", image.device.type == "cpu"
    layout = torch.channels_last if uses_bf16 or on_cpu else torch.contiguous_format
    dtype = torch.bfloat16 if uses_bf16 else image.dtype  # a float32 image would make what it is concatenated to so
    network.to(memory_format=layout)  # type: ignore[call-overload]  # not in torch's stubs
    with torch.autocast(image.device.type, torch.bfloat16, enabled=uses_bf16):
        prediction = network(image.to(dtype, memory_format=layout))
    return MattePrediction(*(output.float() for output in prediction))


def leave_training_layout(network: MODNet) -> None:
    """Undoes in place what `predict` did to the weights: whoever exports or scores them gets the plain layers."""
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # not in torch's stubs


def _trial_step(network: MODNet, batch: Sample, number_format: Format) -> None:
    """Forward and backward, weights untouched."""
    loss = matting_loss(predict(network, batch.image, number_format), batch).total
    loss.backward()  # type: ignore[no-untyped-call]
    network.zero_grad()
    loss.item()  # waits for a GPU
