"""The layers that MODNet is made of. Shapes in comments: B batch, C channels, H and W height and width."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from modnet.network import FoldableLayer
from modnet.workloads.matting.network.doubling import doubled
from modnet.workloads.matting.network.ib_norm import ib_norm, ib_norm_evaluated
from modnet.workloads.matting.network.spec import BlockSpec, SplitWidth


class ConvBN(FoldableLayer):
    """Convolution without bias, batch norm and, unless `activation` is false, ReLU6: the unit of MobileNetV2."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: bool = True,
    ) -> None:
        super().__init__()
        padding = kernel_size // 2
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self._convolved(x))
        return F.relu6(x) if self.activation else x

    def fold(self) -> None:
        self.conv = fuse_conv_bn_eval(self.conv, self.norm)
        self.norm = nn.Identity()  # type: ignore[assignment]  # its neutral element

    def _convolved(self, x: Tensor) -> Tensor:
        """In float32 where a CPU must find a strided, depthwise one's gradient: bfloat16 takes 20 times as long."""
        is_slow = self.conv.groups > 1 and self.conv.stride != (1, 1)
        if is_slow and x.requires_grad and x.dtype == torch.bfloat16 and x.device.type == "cpu":
            with torch.autocast("cpu", enabled=False):
                return cast(Tensor, self.conv(x.to(self.conv.weight.dtype))).to(x.dtype)
        return cast(Tensor, self.conv(x))


class InvertedResidual(nn.Module):
    """Expand 1×1 → depthwise 3×3 → project 1×1 (Sandler et al. 2018, arXiv 1801.04381)."""

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__()
        hidden = spec.hidden_channels
        self.expand = ConvBN(spec.in_channels, hidden, 1) if spec.expands else None
        self.depthwise = ConvBN(hidden, hidden, 3, stride=spec.stride, groups=hidden)
        self.project = ConvBN(hidden, spec.out_channels, 1, activation=False)
        self.residual = spec.residual

    def forward(self, x: Tensor) -> Tensor:  # (B, in, H, W) -> (B, out, H / stride, W / stride)
        hidden = x if self.expand is None else self.expand(x)
        out: Tensor = self.project(self.depthwise(hidden))
        return x + out if self.residual else out


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
