"""Labelled images as network inputs, for what must run a network many times: Taylor scores, sensitivities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from modnet.errors import DatasetError
from modnet.network import PrunableNetwork
from modnet.workloads.matting.data.images import read_pair
from modnet.workloads.matting.data.indexing import Pair
from modnet.workloads.matting.data.preprocessing import input_geometry, normalise, resize


class Portrait(NamedTuple):
    """One labelled image at network size.

    Attributes:
        image: float32 (1, 3, h, w), RGB, [-1, 1].
        alpha: float32 (1, 1, h, w), [0, 1].
    """

    image: Tensor
    alpha: Tensor


def read_portraits(folder: Path, pairs: Iterable[Pair], short_side: int) -> list[Portrait]:
    """Pairs shrunk or enlarged to a short side in pixels, a multiple of 32, with their aspect nearly kept.

    Raises:
        DatasetError: a pair cannot be read, or is so narrow that it would be blown up; names the file.
    """
    portraits = []
    for pair in pairs:
        image, alpha = read_pair(folder / pair.image, folder / pair.matte)
        try:
            input_geometry(image.shape[0], image.shape[1], "aspect")
        except DatasetError as error:
            raise DatasetError(f"image {folder / pair.image}: {error}") from error
        scale = short_side / min(alpha.shape)
        height, width = (max(32, round(side * scale / 32) * 32) for side in alpha.shape)
        target = torch.from_numpy(resize(alpha, height, width)).clamp(0, 1)
        pixels = torch.from_numpy(normalise(resize(image, height, width)))
        portraits.append(Portrait(pixels[None], target[None, None]))
    return portraits


def alpha_mse(network: PrunableNetwork, portrait: Sequence[Tensor]) -> Tensor:
    """Mean squared error of the deployed graph's alpha for each image of a batch: (B,), differentiable.

    Args:
        network: image → alpha, when deployed.
        portrait: image (B, 3, h, w) and alpha (B, 1, h, w), as in `Portrait`.
    """
    image, alpha = portrait
    errors: Tensor = (network.deployed()(image) - alpha).square().mean(dim=(1, 2, 3))
    return errors
