"""What is transparent in an image stays so: the colours behind it are nobody's, or what somebody has cut away."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modnet.workloads.matting.data.headers import opened_picture, read_bytes
from modnet.workloads.matting.data.images import Alpha, upright
from modnet.workloads.matting.data.pixel_limit import pixel_limit


def within_opacity(alpha: Alpha, path: Path) -> Alpha:
    """`alpha`, float32 (H, W) in [0, 1], upright, times the opacity that the image in `path` has there.

    Raises:
        DatasetError: the file cannot be read, is cut off or damaged; names it.
    """
    limit = pixel_limit()
    with opened_picture(read_bytes(path, limit), path, limit) as opened:
        if not opened.has_transparency_data or opened.mode.startswith("I"):  # 16 bits of grey: one shade at most
            return alpha
        opacity = np.asarray(upright(opened).convert("RGBA").getchannel("A"), np.float32)
    return alpha * (opacity / np.float32(255))
