"""Networks wired in every way that is common, small, without a word about their channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv(inputs: int, outputs: int, size: int = 3, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution with batch norm and ReLU."""
    layer = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


class Basic(nn.Module):
    """ResNet's basic block, with a projection where the width changes."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(inputs, outputs), nn.Conv2d(outputs, outputs, 3, padding=1))
        self.norm = nn.BatchNorm2d(outputs)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.body(x)) + self.skip(x))


class Bottleneck(nn.Module):
    """ResNet's bottleneck; with groups it is ResNeXt's."""

    def __init__(self, channels: int, inner: int, groups: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(channels, inner, 1), conv(inner, inner, groups=groups))
        self.expand = nn.Conv2d(inner, channels, 1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm(self.expand(self.body(x)))
        out += x
        return F.relu(out, inplace=True)


class Wide(nn.Module):
    """ResNet-50's bottleneck: its 3×3 convolution has the stride, and the skip has a projection where shapes change."""

    def __init__(self, inputs: int, inner: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * inner
        self.body = nn.Sequential(conv(inputs, inner, 1), conv(inner, inner, stride=stride))
        self.expand = nn.Sequential(nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.skip: nn.Module = nn.Identity()
        if inputs != outputs:
            self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.expand(self.body(x)) + self.skip(x))


def resnet50() -> nn.Module:
    """ResNet-50 (He et al. 2016, arXiv 1512.03385): 25.6 M parameters, 4.1 GMAC at 224×224 pixels."""
    blocks: list[nn.Module] = [conv(3, 64, 7, stride=2), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for inner, count in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for number in range(count):
            blocks.append(Wide(inputs, inner, 2 if number == 0 and inner > 64 else 1))
            inputs = 4 * inner
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


class Dense(nn.Module):
    """DenseNet's layer: norm, ReLU, convolution, and the input beside what it makes."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, self.conv(F.relu(self.norm(x)))), dim=1)


class Shuffle(nn.Module):
    """ShuffleNetV2's unit: half passes, half is worked on, then both are shuffled."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(conv(half, half, 1), conv(half, half, groups=half), conv(half, half, 1))

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=1)
        out = torch.cat((left, self.branch(right)), dim=1)
        batch, channels, height, width = out.shape
        return out.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(out.shape)


class Halves(nn.Module):
    """ShuffleNet's split, written with slices of the shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.left, self.right = conv(channels // 2, 6), conv(channels // 2, 6)

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[1] // 2
        out: Tensor = self.left(x[:, :half]) * torch.sigmoid(self.right(x[:, half:]))
        return out


class SqueezeExcite(nn.Module):
    """Gates from means, with 1×1 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 4, 1), nn.ReLU(), nn.Conv2d(4, channels, 1), nn.Hardsigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x * self.gate(x)
        return out


class UNet(nn.Module):
    """Down, up by a transposed convolution and by resizing, with skips."""

    def __init__(self) -> None:
        super().__init__()
        self.outer, self.inner, self.deep = conv(3, 8), conv(8, 10), conv(10, 12)
        self.up = nn.ConvTranspose2d(12, 6, 2, stride=2)
        self.join, self.last, self.head = conv(16, 8), conv(16, 7), nn.Conv2d(7, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        outer = self.outer(x)
        inner = self.inner(F.max_pool2d(outer, 2))
        up = self.up(self.deep(F.avg_pool2d(inner, 2)))
        joined = F.interpolate(self.join(torch.cat((up, inner), dim=1)), scale_factor=2, mode="bilinear")
        return torch.sigmoid(self.head(self.last(torch.cat((joined, outer), dim=1))))


class SharedLayer(nn.Module):
    """One module that runs twice, as in a pyramid's heads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down = conv(3, 8), conv(8, 8, stride=2)
        self.head = nn.Sequential(conv(8, 6), nn.Conv2d(6, 2, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.stem(x)
        return self.head(fine), self.head(self.down(fine))


class SplitNorm(nn.Module):
    """IBNorm as people write it: the width of the batch norm is an attribute, and another has the same value."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bnorm_channels = channels // 2
        self.inorm_channels = channels - self.bnorm_channels
        self.bnorm = nn.BatchNorm2d(self.bnorm_channels)
        self.inorm = nn.InstanceNorm2d(self.inorm_channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.bnorm(x[:, : self.bnorm_channels]), self.inorm(x[:, self.bnorm_channels :])), dim=1)


class SplitSizes(nn.Module):
    """A split into pieces of unequal sizes that are attributes, each read by a layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = 9, 5
        self.both = conv(8, 14)
        self.reads_wide, self.reads_narrow = conv(9, 6), conv(5, 6)

    def forward(self, x: Tensor) -> Tensor:
        wide, narrow = self.both(x).split([self.wide, self.narrow], dim=1)
        out: Tensor = self.reads_wide(wide) + self.reads_narrow(narrow)
        return out


class Unbound(nn.Module):
    """Two sets of channels as an axis of their own, taken apart again."""

    def __init__(self) -> None:
        super().__init__()
        self.both = conv(8, 12)

    def forward(self, x: Tensor) -> Tensor:
        x = self.both(x)
        left, right = x.view(x.shape[0], 2, x.shape[1] // 2, *x.shape[2:]).unbind(1)
        return left * torch.sigmoid(right)


class Selective(nn.Module):
    """Branches stacked along an axis of their own and added up again (selective kernels)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(conv(channels, channels, size) for size in (1, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([branch(x) for branch in self.branches], dim=1).sum(dim=1)


class Tokens(nn.Module):
    """Pixels as rows of a matrix, through linear layers with a scale of each channel, and back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(channels, 12), nn.Linear(12, channels)
        self.scale = nn.Parameter(torch.rand(channels))

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(2).transpose(1, 2)  # (B, H·W, C)
        rows = rows + self.scale * self.outer(F.gelu(self.inner(rows)))
        out: Tensor = rows.transpose(1, 2).reshape(x.shape)
        return out


def classifier(*body: nn.Module, channels: int) -> nn.Sequential:
    """A body that gives `channels`, and a linear layer on their means."""
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 5))


class Architecture(NamedTuple):
    """A network by its factory, and the shape that it reads."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...] = (2, 3, 16, 24)


ARCHITECTURES: Mapping[str, Architecture] = {
    "ResNet basic": Architecture(lambda: classifier(conv(3, 8), Basic(8, 8), Basic(8, 12), channels=12)),
    "ResNet bottleneck": Architecture(
        lambda: classifier(conv(3, 16), Bottleneck(16, 6), Bottleneck(16, 8), channels=16)
    ),
    "ResNeXt": Architecture(lambda: classifier(conv(3, 16), Bottleneck(16, 12, groups=4), channels=16)),
    "DenseNet": Architecture(lambda: classifier(conv(3, 8), Dense(8, 4), Dense(12, 4), conv(16, 6), channels=6)),
    "ShuffleNet": Architecture(lambda: classifier(conv(3, 16), Shuffle(16), Shuffle(16), Shuffle(16), channels=16)),
    "channel shuffle": Architecture(
        lambda: classifier(conv(3, 12), conv(12, 12, groups=3), nn.ChannelShuffle(3), conv(12, 6), channels=6)
    ),
    "halves by shape": Architecture(lambda: classifier(conv(3, 12), Halves(12), channels=6)),
    "U-Net": Architecture(UNet),
    "squeeze-excite": Architecture(lambda: classifier(conv(3, 12), SqueezeExcite(12), conv(12, 8), channels=8)),
    "inverted residual": Architecture(
        lambda: classifier(conv(3, 8), conv(8, 24, 1), conv(24, 24, groups=24), conv(24, 6, 1), channels=6)
    ),
    "depthwise with two outputs for each": Architecture(
        lambda: classifier(conv(3, 6), conv(6, 12, groups=6), conv(12, 5, 1), channels=5)
    ),
    "one module twice": Architecture(SharedLayer),
    "pixel shuffle": Architecture(
        lambda: nn.Sequential(conv(3, 8), nn.Conv2d(8, 24, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(6, 3, 3))
    ),
    "pixel unshuffle": Architecture(
        lambda: nn.Sequential(conv(3, 4), nn.PixelUnshuffle(2), conv(16, 6), nn.Conv2d(6, 3, 1))
    ),
    "split norm": Architecture(
        lambda: classifier(nn.Conv2d(3, 12, 3), SplitNorm(12), nn.ReLU(), conv(12, 6), channels=6)
    ),
    "unequal split": Architecture(lambda: classifier(conv(3, 8), SplitSizes(), channels=6)),
    "unbind": Architecture(lambda: classifier(conv(3, 8), Unbound(), conv(6, 4), channels=4)),
    "instance norm": Architecture(
        lambda: classifier(nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8, affine=True), nn.ReLU(), conv(8, 6), channels=6)
    ),
    "selective kernels": Architecture(lambda: classifier(conv(3, 8), Selective(8), conv(8, 6), channels=6)),
    "flattened pixels": Architecture(
        lambda: nn.Sequential(
            conv(3, 6), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(6 * 4 * 6, 10), nn.ReLU(), nn.Linear(10, 5)
        )
    ),
    "tokens": Architecture(lambda: classifier(conv(3, 8), Tokens(8), conv(8, 6), channels=6)),
    "sequence": Architecture(
        lambda: nn.Sequential(
            nn.Conv1d(4, 8, 3, padding=1), nn.BatchNorm1d(8), nn.PReLU(8), nn.Conv1d(8, 12, 3), nn.GroupNorm(12, 12),
            nn.Conv1d(12, 2, 1),
        ),
        shape=(2, 4, 20),
    ),
}  # fmt: skip
