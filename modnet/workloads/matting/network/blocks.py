"""The layers that MODNet is made of. Shapes in comments: B batch, C channels, H and W height and width."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modnet.network import FoldableLayer
from modnet.workloads.matting.network.doubling import doubled
from modnet.workloads.matting.network.ib_norm import ib_norm, ib_norm_evaluated
from modnet.workloads.matting.network.spec import SplitWidth


class IBNorm(nn.Module):
    """Batch norm on the first channels, instance norm without parameters on the rest (MODNet, arXiv 2011.11961)."""

    def __init__(self, width: SplitWidth) -> None:
        super().__init__()
        self.batch = nn.BatchNorm2d(width.batch) if width.batch else None
        self.instance = nn.InstanceNorm2d(width.instance) if width.instance else None
        self.batch_channels = width.batch

    def forward(self, x: Tensor) -> Tensor:
        if self.batch is None:
            assert self.instance is not None
            return cast(Tensor, self.instance(x))
        if self.instance is None:
            return cast(Tensor, self.batch(x))
        if _channels_come_last_on_cpu(x) and (self.training or not torch.is_grad_enabled()):
            return (ib_norm if self.training else ib_norm_evaluated)(x, self.batch)
        return torch.cat((self.batch(x[:, : self.batch_channels]), self.instance(x[:, self.batch_channels :])), dim=1)


class ConvIBNormReLU(FoldableLayer):
    """Convolution with bias, IBNorm, ReLU: the unit of MODNet's branches."""

    def __init__(self, in_channels: int, width: SplitWidth, kernel_size: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width.total, kernel_size, stride, padding=kernel_size // 2)
        self.norm = IBNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))

    @torch.no_grad()
    def fold(self) -> None:
        """The batch norm of the first channels goes into the convolution, and the other channels' bias becomes 0.

        The instance norm subtracts a channel's mean and the bias with it. Where the bias is large against the
        deviation, the sums of the norm lose digits to it.
        """
        conv, norm = self.conv, self.norm
        assert conv.bias is not None
        split = norm.batch_channels
        conv.bias[split:] = 0.0
        if norm.batch is not None:
            batch = norm.batch
            assert batch.running_mean is not None
            assert batch.running_var is not None
            # y = γ (w·x + b - μ) / √(σ² + ε) + β
            scale = batch.weight / torch.sqrt(batch.running_var + batch.eps)
            conv.weight[:split] *= scale[:, None, None, None]
            conv.bias[:split] = (conv.bias[:split] - batch.running_mean) * scale + batch.bias
            norm.batch = nn.Identity()  # type: ignore[assignment]  # its neutral element


class SqueezeExcite(nn.Module):
    """Scales every channel by a gate in (0, 1) computed from all channels' means (Hu et al. 2018, arXiv 1709.01507)."""

    def __init__(self, channels: int, squeeze_channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, squeeze_channels, bias=False)
        self.excite = nn.Linear(squeeze_channels, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, C, H, W)
        means = x.mean(dim=(2, 3))  # (B, C)
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(means))))  # (B, C)
        return x * gate[:, :, None, None]


def resize(x: Tensor, scale: float) -> Tensor:
    """`x` (B, C, H, W) resized bilinearly by `scale`; corners are not aligned, as in the published network."""
    if scale == 2 and x.requires_grad and _channels_come_last_on_cpu(x):
        return doubled(x)
    return F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False, recompute_scale_factor=True)


def _channels_come_last_on_cpu(x: Tensor) -> bool:
    """True in training on a CPU, `modnet.training.execution.predict`, where some of torch's operations are slow."""
    comes_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return comes_last and x.device.type == "cpu"
