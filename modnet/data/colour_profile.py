"""Colours as their file means them: LittleCMS converts from its ICC profile to sRGB, as networks and screens take."""

import io
import logging
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms
from PIL.Image import Image as Picture

logger = logging.getLogger(__name__)

GRAY, CMYK = b"GRAY", b"CMYK"
_SPACES = {b"RGB ": "RGB", GRAY: "L", CMYK: "CMYK"}
_GRID = 17  # values a channel that are looked at, to tell whether a profile is sRGB
_SAME = 1  # of 255: what rounding makes of sRGB in another wording


def space_of(profile: bytes) -> bytes:
    """What a profile is for, as its header says: `b"RGB "`, `GRAY`, `CMYK` or something else."""
    return profile[16:20]


def to_srgb(picture: Picture, profile: bytes, path: Path) -> Picture:
    """A picture of mode RGB, L or CMYK as sRGB, mode RGB; when the profile is sRGB, RGB stays to the bit.

    Colours that sRGB has not are clipped, black stays black. A profile that is damaged, or not for such pictures, is
    left out and named in the log.
    """
    mode = _SPACES.get(space_of(profile))
    problem = f"is for {space_of(profile).decode('latin1').strip()!r} and not for {picture.mode}"
    if mode == picture.mode:
        try:
            transform = _transform(profile, mode)
            return picture if transform is None else ImageCms.applyTransform(picture, transform) or picture
        except (ImageCms.PyCMSError, OSError, ValueError) as error:
            problem = f"cannot be used: {error}"
    logger.warning("image %s: its colour profile %s; its colours are taken for sRGB", path, problem)
    return picture.convert("RGB")


@lru_cache(maxsize=8)  # a folder has few profiles, and many images of each
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:  # None: it is sRGB
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if mode != "RGB":
        return transform
    values = np.linspace(0, 255, _GRID).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(values, values, values), axis=-1).reshape(_GRID, -1, 3)
    shown = np.asarray(ImageCms.applyTransform(Image.fromarray(colours), transform))
    return None if np.abs(shown.astype(int) - colours).max() <= _SAME else transform
