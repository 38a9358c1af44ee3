"""MobileNetV2 from its stem to its last 1×1 convolution."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from modnet.backbones.spec import BackboneSpec, BlockSpec
from modnet.network import FoldableLayer


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


class MobileNetV2Backbone(nn.Module):
    """Stem, inverted residual blocks, last 1×1 convolution (Sandler et al. 2018, arXiv 1801.04381)."""

    def __init__(self, spec: BackboneSpec) -> None:
        super().__init__()
        self.stem = ConvBN(3, spec.stem_channels, 3, stride=2)
        self.blocks = nn.ModuleList(InvertedResidual(block) for block in spec.blocks)
        self.last = ConvBN(spec.blocks[-1].out_channels, spec.last_channels, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """The output of every block, then that of the last convolution: (B, last, H/32, W/32)."""
        x = self.stem(image)  # (B, stem, H/2, W/2)
        at_block = []
        for block in self.blocks:
            x = block(x)
            at_block.append(x)
        return (*at_block, self.last(x))
