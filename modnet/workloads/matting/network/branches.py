"""MODNet's three branches: where the person is, what the border looks like, and both together.

`forward` is deployed; `predict` is a head that only training uses. Channel counts in comments are fields of the spec.
"""

import torch
from torch import Tensor, nn

from modnet.workloads.matting.network.blocks import ConvIBNormReLU, SqueezeExcite, resize
from modnet.workloads.matting.network.spec import ModnetSpec


class SemanticBranch(nn.Module):
    """The low-resolution branch (LR): locates the person."""

    def __init__(self, spec: ModnetSpec) -> None:
        super().__init__()
        self.squeeze_excite = SqueezeExcite(spec.last_channels, spec.squeeze_channels)
        self.lr16x = ConvIBNormReLU(spec.last_channels, spec.lr16x, 5)
        self.lr8x = ConvIBNormReLU(spec.lr16x.total, spec.lr8x, 5)
        self.head = nn.Conv2d(spec.lr8x.total, 1, 3, stride=2, padding=1)

    def forward(self, enc32x: Tensor) -> Tensor:
        x = self.squeeze_excite(enc32x)  # (B, last, H/32, W/32)
        x = self.lr16x(resize(x, 2))  # (B, lr16x, H/16, W/16)
        out: Tensor = self.lr8x(resize(x, 2))  # (B, lr8x, H/8, W/8)
        return out

    def predict(self, lr8x: Tensor) -> Tensor:
        """The coarse matte (B, 1, H/16, W/16) in [0, 1]."""
        return torch.sigmoid(self.head(lr8x))


class DetailBranch(nn.Module):
    """The high-resolution branch (HR): follows the border."""

    def __init__(self, spec: ModnetSpec) -> None:
        super().__init__()
        enc2x = spec.blocks[spec.enc2x_block].out_channels
        enc4x = spec.blocks[spec.enc4x_block].out_channels
        a, b, c = spec.hr4x
        p, q, r, s = spec.hr2x
        self.to_enc2x = ConvIBNormReLU(enc2x, spec.to_enc2x, 1)
        self.enc2x = ConvIBNormReLU(3 + spec.to_enc2x.total, spec.enc2x, 3, stride=2)
        self.to_enc4x = ConvIBNormReLU(enc4x, spec.to_enc4x, 1)
        self.enc4x = ConvIBNormReLU(spec.enc2x.total + spec.to_enc4x.total, spec.enc4x, 3)
        self.hr4x = nn.Sequential(
            ConvIBNormReLU(spec.enc4x.total + spec.lr8x.total + 3, a, 3),
            ConvIBNormReLU(a.total, b, 3),
            ConvIBNormReLU(b.total, c, 3),
        )
        self.hr2x = nn.Sequential(
            ConvIBNormReLU(c.total + spec.to_enc2x.total, p, 3),
            ConvIBNormReLU(p.total, q, 3),
            ConvIBNormReLU(q.total, r, 3),
            ConvIBNormReLU(r.total, s, 3),
        )
        self.head_features = ConvIBNormReLU(s.total + 3, spec.detail_head, 3)
        self.head = nn.Conv2d(spec.detail_head.total, 1, 1)

    def forward(self, image: Tensor, enc2x: Tensor, enc4x: Tensor, lr8x: Tensor) -> Tensor:
        image2x, image4x = resize(image, 1 / 2), resize(image, 1 / 4)
        enc2x = self.to_enc2x(enc2x)  # (B, to_enc2x, H/2, W/2)
        x = self.enc2x(torch.cat((image2x, enc2x), dim=1))  # (B, enc2x, H/4, W/4)
        enc4x = self.to_enc4x(enc4x)  # (B, to_enc4x, H/4, W/4)
        x = self.enc4x(torch.cat((x, enc4x), dim=1))  # (B, enc4x, H/4, W/4)
        x = self.hr4x(torch.cat((x, resize(lr8x, 2), image4x), dim=1))  # (B, hr4x[2], H/4, W/4)
        out: Tensor = self.hr2x(torch.cat((resize(x, 2), enc2x), dim=1))  # (B, hr2x[3], H/2, W/2)
        return out

    def predict(self, image: Tensor, hr2x: Tensor) -> Tensor:
        """The border matte (B, 1, H, W) in [0, 1]; meaningful in the unknown band only."""
        x = self.head_features(torch.cat((resize(hr2x, 2), image), dim=1))  # (B, detail_head, H, W)
        return torch.sigmoid(self.head(x))


class FusionBranch(nn.Module):
    """The fusion branch (F): the final matte from both others."""

    def __init__(self, spec: ModnetSpec) -> None:
        super().__init__()
        self.lr4x = ConvIBNormReLU(spec.lr8x.total, spec.lr4x, 5)
        self.f2x = ConvIBNormReLU(spec.lr4x.total + spec.hr2x[3].total, spec.f2x, 3)
        self.head_features = ConvIBNormReLU(spec.f2x.total + 3, spec.fusion_head, 3)
        self.head = nn.Conv2d(spec.fusion_head.total, 1, 1)

    def forward(self, image: Tensor, lr8x: Tensor, hr2x: Tensor) -> Tensor:
        lr4x = self.lr4x(resize(lr8x, 2))  # (B, lr4x, H/4, W/4)
        x = self.f2x(torch.cat((resize(lr4x, 2), hr2x), dim=1))  # (B, f2x, H/2, W/2)
        x = self.head_features(torch.cat((resize(x, 2), image), dim=1))  # (B, fusion_head, H, W)
        return torch.sigmoid(self.head(x))  # (B, 1, H, W)
