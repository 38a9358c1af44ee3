"""In which number format a training step runs."""

import copy
import time
from typing import Any, Literal

import torch

from modnet.network import PrunableNetwork
from modnet.workload import Loss, Sample, inputs_of

Format = Literal["fp32", "bf16"]

WORTH_IT = 0.85  # of the time in float32: what has to be reached, so that noise does not decide
_ROUNDS = 3


def computes_bf16(device: torch.device) -> bool:
    """True where bfloat16 arithmetic is done by the processor and not emulated."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def fastest_format(network: PrunableNetwork, batch: Sample, loss: Loss) -> Format:
    """bf16 where a step of this network on this batch clearly gains from it, measured; otherwise fp32.

    Having bfloat16 instructions does not mean that a step is faster with them: it depends on widths and image size.
    The fastest steps are compared: what else the machine does at the moment makes others slower, never faster.
    """
    if not computes_bf16(batch[0].device):
        return "fp32"
    seconds: dict[Format, list[float]] = {"fp32": [], "bf16": []}
    trial = copy.deepcopy(network)
    for round_ in range(1 + _ROUNDS):  # the first warms up
        for number_format, taken in seconds.items():
            began = time.perf_counter()
            _trial_step(trial, batch, loss, number_format)
            if round_:
                taken.append(time.perf_counter() - began)
    return "bf16" if min(seconds["bf16"]) < WORTH_IT * min(seconds["fp32"]) else "fp32"


def predict(network: PrunableNetwork, inputs: Sample, number_format: Format) -> Any:
    """What the network says of inputs (B, C, H, W), computed in a format and given in float32.

    Sums over a whole image, as losses are, lose too much in bfloat16. On a CPU channels come last in either format:
    with the 19 or 48 that a pruned network's convolutions read, the plain layout takes up to twice as long.
    """
    device = inputs[0].device.type
    uses_bf16, on_cpu = number_format == "bf16", device == "cpu"
    layout = torch.channels_last if uses_bf16 or on_cpu else torch.contiguous_format
    dtype = torch.bfloat16 if uses_bf16 else inputs[0].dtype  # a float32 input would make what it is joined to so
    network.to(memory_format=layout)  # type: ignore[call-overload]  # not in torch's stubs
    with torch.autocast(device, torch.bfloat16, enabled=uses_bf16):
        prediction = network(*(one.to(dtype, memory_format=layout) for one in inputs))
    return type(prediction)(*(output.float() for output in prediction))


def leave_training_layout(network: PrunableNetwork) -> None:
    """Undoes in place what `predict` did to the weights: whoever exports or scores them gets the plain layers."""
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # not in torch's stubs


def _trial_step(network: PrunableNetwork, batch: Sample, loss: Loss, number_format: Format) -> None:
    terms = loss(predict(network, inputs_of(network, batch), number_format), batch)
    total = torch.stack(list(terms.values())).sum()
    total.backward()  # type: ignore[no-untyped-call]
    network.zero_grad()
    total.item()  # waits for a GPU
