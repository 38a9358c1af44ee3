"""IBNorm over all channels at once, for where a pixel's channels lie side by side in memory.

To take the channels apart for two norms and put them together again copies a few bytes at a time, and torch's instance
norm leaves its result in the other layout, which all that follows has to turn round. Both halves are x · scale + shift
with factors of an image and a channel; they differ in the pixels that their statistics are taken over, and in nothing
else.

Shapes in comments: B images; C channels; K neighbours in a row that are seen as one pixel of K · C channels.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_VECTOR = 32  # numbers that the processor computes with at once


def ib_norm(x: Tensor, batch: nn.BatchNorm2d) -> Tensor:
    """`batch` in training mode on the first channels of `x` (B, C, H, W), instance norm without parameters on the rest.

    It updates the running statistics, as the module does. `x` is on the CPU, in channels-last layout, as is the result.
    """
    normed: Tensor
    arguments = x, *_factors(x, batch), batch.num_features, batch.eps
    normed, mean, variance = _IBNorm.apply(*arguments)  # type: ignore[no-untyped-call]  # not in torch's stubs
    count = x.numel() / x.shape[1]
    assert batch.running_mean is not None
    assert batch.running_var is not None
    assert batch.num_batches_tracked is not None
    assert batch.momentum is not None
    batch.running_mean.lerp_(mean, batch.momentum)
    batch.running_var.lerp_(variance * (count / (count - 1)), batch.momentum)
    batch.num_batches_tracked += 1
    return normed


@torch.no_grad()
def ib_norm_evaluated(x: Tensor, batch: nn.BatchNorm2d) -> Tensor:
    """What `ib_norm` computes, with the running statistics of `batch`; gradients do not flow through it."""
    assert batch.running_mean is not None
    assert batch.running_var is not None
    wide = _widened(x)
    pixels, half = wide.shape[1] // x.shape[1], batch.num_features
    mean, variance = _moments(wide, batch.weight.dtype, pixels, 0)
    for own, running in ((mean, batch.running_mean), (variance, batch.running_var)):
        own.view(len(x), pixels, -1)[..., :half] = running
    weight, bias = _factors(x, batch)
    scale = (variance + batch.eps).rsqrt() * weight.repeat(pixels)
    return _narrowed(_affine(wide, scale, bias.repeat(pixels) - mean * scale), x)


class _IBNorm(torch.autograd.Function):
    """Sums and factors are in the precision of the weights, as in torch's own norms."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, half: int, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`x` normed, and the mean and biased variance of the first `half` channels."""
        wide = _widened(x)
        pixels = wide.shape[1] // x.shape[1]
        mean, variance = _moments(wide, weight.dtype, pixels, half)
        inverse = (variance + eps).rsqrt()
        scale = inverse * weight.repeat(pixels)
        normed = _affine(wide, scale, bias.repeat(pixels) - mean * scale)
        statistics = mean[0, :half], variance[0, :half]
        ctx.save_for_backward(x, mean, inverse, scale)
        ctx.half = half
        ctx.mark_non_differentiable(*statistics)
        return _narrowed(normed, x), *statistics

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """dx = scale · (dy - mean(dy) - n · mean(dy · n)) with n = (x - mean) · inverse, means as in `forward`."""
        x, mean, inverse, scale = ctx.saved_tensors
        wide, dy = _widened(x), _widened(gradient.contiguous(memory_format=torch.channels_last))
        pixels = wide.shape[1] // x.shape[1]
        unused = [None] * len(x)  # running statistics
        found = [
            torch.ops.aten.native_batch_norm_backward(*of_image, True, 0.0, [False, True, True])[1:]
            for of_image in zip(
                torch.split(dy, 1), torch.split(wide, 1), scale, unused, unused, mean, inverse, strict=True
            )
        ]
        dy_n, dy_1 = (torch.stack(one) for one in zip(*found, strict=True))  # (B, K · C), sums over positions
        count = wide.shape[2] * wide.shape[3]
        slope = -scale * inverse * _pooled(dy_n / count, pixels, ctx.half)
        shift = -scale * _pooled(dy_1 / count, pixels, ctx.half) - slope * mean
        dx = _affine(dy, scale, torch.zeros_like(shift)).add_(_affine(wide, slope, shift))
        dweight, dbias = (one.sum(0).view(pixels, -1).sum(0) for one in (dy_n, dy_1))
        return _narrowed(dx, x), dweight, dbias, None, None


def _factors(x: Tensor, batch: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of each channel of `x` (B, C, H, W): 1 and 0 behind the first ones."""
    rest = x.shape[1] - batch.num_features
    return F.pad(batch.weight, (0, rest), value=1.0), F.pad(batch.bias, (0, rest))


def _moments(wide: Tensor, dtype: torch.dtype, pixels: int, half: int) -> tuple[Tensor, Tensor]:
    """Means and biased variances of each image's channels, both (B, K · C) and `_pooled`."""
    unused = torch.zeros(2, wide.shape[1], dtype=dtype)  # running statistics
    found = [torch.batch_norm_update_stats(image, unused[0], unused[1], 0.0) for image in torch.split(wide, 1)]
    means, variances = (torch.stack(one) for one in zip(*found, strict=True))
    mean = _pooled(means, pixels, half)
    return mean, _pooled(variances + (means - mean).square(), pixels, half)


def _widened(x: Tensor) -> Tensor:
    """(B, C, H, W) seen as (B, K · C, H, W / K), so that channels fill whole vectors."""
    batch, channels, height, width = x.shape
    pixels = math.gcd(width, _VECTOR // math.gcd(channels, _VECTOR))
    return x.permute(0, 2, 3, 1).view(batch, height, width // pixels, -1).permute(0, 3, 1, 2)


def _narrowed(wide: Tensor, like: Tensor) -> Tensor:
    return wide.permute(0, 2, 3, 1).view(like.permute(0, 2, 3, 1).shape).permute(0, 3, 1, 2)


def _pooled(means: Tensor, pixels: int, half: int) -> Tensor:
    """(B, K · C), each the mean over the K pixels of its channel and, in the first `half` of channels, over images."""
    means = means.view(len(means), pixels, -1).mean(1)  # (B, C)
    over_batch = means[:, :half].mean(0).expand(len(means), -1)
    return torch.cat((over_batch, means[:, half:]), dim=1).repeat(1, pixels)


def _affine(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """x · scale + shift, in the precision of the factors (B, C): what batch norm does in evaluation."""
    result, neutral = torch.empty_like(x), (torch.zeros_like(scale[0]), torch.ones_like(scale[0]))
    unused = scale.new_empty(0)
    for image, out, *factors in zip(torch.split(x, 1), torch.split(result, 1), scale, shift, strict=True):
        torch.ops.aten.native_batch_norm.out(
            image, *factors, *neutral, False, 0.0, 0.0, out=out, save_mean=unused, save_invstd=unused
        )
    return result
