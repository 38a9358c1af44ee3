"""MODNet's three losses (Ke et al. 2022, arXiv 2011.11961), as in the published trainer.

Two habits of that trainer are kept so that losses compare: detail and matte terms average over all pixels, although
only the unknown band differs, and the compositional term works on the normalised image. Its second division of the
true matte by 255 is not kept.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from modnet.workloads.matting.data.dataset import Sample
from modnet.workloads.matting.network.modnet import MattePrediction

GAUSSIAN_SIGMA = 0.8  # of the 3×3 blur of the coarse target


def matting_loss(prediction: MattePrediction, batch: Sample) -> dict[str, Tensor]:
    """The terms of a prediction against a batch of (B, 3, H, W) images, (B, 1, H, W) trimaps and alphas, by name."""
    is_unknown = batch.trimap == 0.5
    return {
        "semantic": semantic_loss(prediction.semantic, batch.alpha),
        "detail": detail_loss(prediction.detail, batch.alpha, batch.trimap, is_unknown),
        "matte": matte_loss(prediction.alpha, batch.alpha, batch.image, batch.trimap, is_unknown),
    }


def semantic_loss(semantic: Tensor, alpha: Tensor) -> Tensor:
    """10 · mean (s - G(α↓16))²: the coarse prediction (B, 1, H/16, W/16) against the blurred, shrunk matte."""
    return 10 * F.mse_loss(semantic, coarse_matte(alpha, semantic))


def coarse_matte(alpha: Tensor, like: Tensor) -> Tensor:
    """G(α↓16): the matte (B, 1, H, W) shrunk to the height and width of `like`, then blurred."""
    return _blurred(F.interpolate(alpha, size=like.shape[-2:], mode="bilinear", align_corners=False))


def detail_loss(detail: Tensor, alpha: Tensor, trimap: Tensor, is_unknown: Tensor) -> Tensor:
    """10 · mean |d - α| over all pixels, where known pixels count as right."""
    return 10 * F.l1_loss(torch.where(is_unknown, detail, trimap), torch.where(is_unknown, alpha, trimap))


def matte_loss(predicted: Tensor, alpha: Tensor, image: Tensor, trimap: Tensor, is_unknown: Tensor) -> Tensor:
    """mean |a - α| + 4 mean |a' - α| + mean |x a - x α| + 4 mean |x a' - x α|, a' = a where unknown, else trimap."""
    at_border = torch.where(is_unknown, predicted, trimap)
    return (
        F.l1_loss(predicted, alpha)
        + 4 * F.l1_loss(at_border, alpha)
        + F.l1_loss(image * predicted, image * alpha)
        + 4 * F.l1_loss(image * at_border, image * alpha)
    )


def _blurred(x: Tensor) -> Tensor:
    """`x` (B, 1, H, W) under a 3×3 Gaussian; the border is reflected, or repeated where there is one row or column."""
    side = torch.exp(torch.tensor(-1 / (2 * GAUSSIAN_SIGMA**2)))
    line = torch.stack((side, torch.ones(()), side)).to(x)
    kernel = torch.outer(line, line) / line.sum() ** 2
    mode = "reflect" if min(x.shape[-2:]) > 1 else "replicate"
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode=mode), kernel[None, None])
