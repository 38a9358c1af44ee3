"""Fine-tuning that makes a network's weights bear the rounding to 8 bits."""

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from modnet.errors import ConfigError, TrainingDivergedError
from modnet.graph_function import Pixels
from modnet.network import Network
from modnet.progress import progress_over
from modnet.training.memory import freed_memory_kept

_MEMORY = 0.95  # of the running range of activations


@freed_memory_kept()
def train_quantisation_aware(
    network: Network, inputs: Sequence[Pixels], *, steps: int, learning_rate: float = 1e-5, seed: int = 0
) -> Network:
    """A copy of the network whose output changes less when weights and activations are rounded to 8 bits.

    Each step takes one image, mirrored or not, rounds what every convolution and linear layer reads and multiplies with
    (Jacob et al. 2018, arXiv 1712.05877; gradients pass the rounding unchanged), and moves the weights towards the
    output that the network itself has in float. So it needs no labels, and learns nothing but to bear the rounding.
    Rounding is as in `modnet.export.quantise`: weights symmetric by channel, activations by tensor with a zero point,
    norms in float. Batch norm keeps its statistics. Same seed, same weights.

    Args:
        network: not touched; may be in training mode.
        inputs: pixels, float32 (1, 3, H, W) in [-1, 1], of the `fit` split; at least one.
        learning_rate: of Adam, falling to 0 along a cosine.

    Raises:
        ConfigError: no inputs, or no steps.
        TrainingDivergedError: the difference of the outputs is not finite.
    """
    if not inputs or steps < 1:
        got = f"got {len(inputs)} images and {steps} steps, wanted at least 1 of each"
        raise ConfigError(f"quantisation-aware training: {got}")
    trained = copy.deepcopy(network).eval()
    teacher, student = copy.deepcopy(trained).deployed(), trained.deployed()
    generator = torch.Generator().manual_seed(seed)
    with _rounding(student, inputs):
        weights = [parameter for parameter in student.parameters() if parameter.requires_grad]
        optimiser = torch.optim.Adam(weights, lr=learning_rate)
        last_loss: float | None = None
        for step in progress_over(range(steps), "quantisation-aware training", "step"):
            index, is_mirrored = divmod(int(torch.randint(2 * len(inputs), (), generator=generator)), 2)
            pixels = torch.from_numpy(inputs[index])
            pixels = pixels.flip(-1) if is_mirrored else pixels
            with torch.no_grad():
                wanted = teacher(pixels)
            loss = F.mse_loss(student(pixels), wanted)
            if not math.isfinite(loss.item()):
                what = f"quantisation-aware training: the loss is {loss.item()} at step {step}"
                raise TrainingDivergedError(what, step, last_loss)
            last_loss = loss.item()
            for group in optimiser.param_groups:
                group["lr"] = learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return trained


class _RoundedWeight(nn.Module):
    """Symmetric rounding of a weight to 8 bits, by output channel."""

    def forward(self, weight: Tensor) -> Tensor:
        largest = weight.detach().flatten(1).abs().amax(dim=1)
        steps = (largest / 127).clamp(min=torch.finfo(torch.float32).tiny)
        zero_points = torch.zeros_like(steps, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, steps, zero_points, 0, -127, 127)


class _RoundedInput:
    """Rounds what a module reads to 8 bits between the running smallest and largest values, 0 among them."""

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf
        self.observes_only = True

    def __call__(self, module: nn.Module, arguments: tuple[Tensor]) -> tuple[Tensor]:
        (values,) = arguments
        low, high = min(float(values.detach().min()), 0.0), max(float(values.detach().max()), 0.0)
        if self.observes_only:
            self.low, self.high = min(self.low, low), max(self.high, high)
            return arguments
        if torch.is_grad_enabled():
            self.low = _MEMORY * self.low + (1 - _MEMORY) * low
            self.high = _MEMORY * self.high + (1 - _MEMORY) * high
        step = max(self.high - self.low, torch.finfo(torch.float32).tiny) / 255
        zero_point = min(max(round(-self.low / step), 0), 255)
        return (torch.fake_quantize_per_tensor_affine(values, step, zero_point, 0, 255),)


@contextmanager
def _rounding(graph: nn.Module, inputs: Sequence[Pixels]) -> Iterator[None]:
    """Within the block `graph` computes with rounded weights and activations; its weights stay unrounded behind it."""
    layers = [module for module in graph.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    rounders = [_RoundedInput() for _ in layers]
    with ExitStack() as at_the_end:
        for layer, rounder in zip(layers, rounders, strict=True):
            at_the_end.enter_context(layer.register_forward_pre_hook(rounder))
        with torch.no_grad():
            for pixels in inputs:
                graph(torch.from_numpy(pixels))
        for layer, rounder in zip(layers, rounders, strict=True):
            rounder.observes_only = False
            parametrize.register_parametrization(layer, "weight", _RoundedWeight())
            at_the_end.callback(parametrize.remove_parametrizations, layer, "weight", leave_parametrized=False)
        yield
