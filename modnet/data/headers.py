"""What a picture's file says of itself before its pixels are decoded: format, size, colour profile. Pillow reads it."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, UnidentifiedImageError

from modnet.data.pixel_limit import too_many_pixels
from modnet.errors import DatasetError

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

# By the names of Pillow, which knows many more, with parsers that nobody needs here. What it opens as JPEG it calls MPO
# where a phone has put a second picture behind the first: ask whether a format is among the others.
PLAIN_FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
OTHER_FORMATS = ("HEIF", "AVIF", "TIFF", "GIF")
_SHOWN = {"WEBP": "WebP", "HEIF": "HEIC"}
_NEW_SUBFILE_TYPE, _DNG_VERSION = 254, 50706  # tags of TIFF: a preview of the picture; a negative

Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit, which is a fixed one; ours is looked at below
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # of odd metadata, with lines of Pillow's code


def read_bytes(path: Path, max_pixels: int) -> bytes:
    """The content of a picture's file.

    Raises:
        DatasetError: it cannot be read, or there is too much of it for `max_pixels`.
    """
    max_bytes = 8 * max_pixels + 2**20  # four channels of 16 bits, uncompressed, and metadata
    try:
        size_bytes = path.stat().st_size
        if size_bytes > max_bytes:
            raise DatasetError(f"image {path}: {size_bytes} bytes cannot be at most {max_pixels} pixels, the limit")
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"image {path} cannot be read: {error.strerror}") from error


@contextmanager
def opened_picture(
    data: bytes, path: Path, max_pixels: int, formats: Sequence[str] = PLAIN_FORMATS + OTHER_FORMATS
) -> Iterator[ImageFile]:
    """A picture whose header is read and acceptable; its pixels are decoded when they are asked for.

    `path` is for messages; `formats` are those taken, by Pillow's names.

    Raises:
        DatasetError: none of the formats, cut off, damaged, a camera's negative, or more than `max_pixels`; also when
            the pixels turn out to be damaged within the `with`. Or HEIC or AVIF where pillow-heif is not installed.
    """
    if data[4:8] == b"ftyp" and "HEIF" in formats:
        _register_heif(path)
    known = [name for name in formats if name != "HEIF" or name in Image.OPEN]
    try:
        with Image.open(io.BytesIO(data), formats=known) as opened:
            _check(opened, path, max_pixels)
            yield opened
    except UnidentifiedImageError as error:
        *names, last = (_SHOWN.get(name, name) for name in formats)
        wanted = f"neither {', '.join(names)} nor {last}"
        raise DatasetError(f"image {path} ({len(data)} bytes): empty, cut off, or {wanted}") from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:  # what Pillow's decoders raise
        raise DatasetError(f"image {path} ({len(data)} bytes): cut off or damaged: {error}") from error


def _register_heif(path: Path) -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise DatasetError(f"image {path} is HEIC or AVIF, which needs pillow-heif: pip install pillow-heif") from error
    pillow_heif.register_heif_opener()


def _check(opened: ImageFile, path: Path, max_pixels: int) -> None:
    """Refuses, before it is decoded, what is too large or only stands for a picture."""
    if opened.width * opened.height > max_pixels:
        raise too_many_pixels(path, opened.height, opened.width, max_pixels)
    tags = getattr(opened, "tag_v2", {})
    if _DNG_VERSION in tags or tags.get(_NEW_SUBFILE_TYPE, 0) & 1:
        raise DatasetError(f"image {path}: a camera's negative; develop it to JPEG, TIFF or HEIC first")
