"""Height and width of what a network reads, as people write them."""

import re
from typing import Annotated

from pydantic import AfterValidator

from modnet.errors import ConfigError
from modnet.targets import LONGEST_SIDE, STRIDE, Shape, Size, is_readable


def _checked(text: str) -> str:
    if not re.fullmatch(r"[1-9]\d{1,3}x[1-9]\d{1,3}", text) or not is_readable(shape_in(text)):
        raise ValueError(
            f"wanted height x width as 480x320, each a multiple of {STRIDE} up to {LONGEST_SIDE}, got {text!r}"
        )
    return text


InputShape = Annotated[str, AfterValidator(_checked)]  # `480x320`: 480 rows of 320 pixels


SQUARE: InputShape = "512x512"


def shape_in(text: InputShape) -> Shape:
    """Height and width in pixels."""
    height, width = map(int, text.split("x"))
    return height, width


def shown(shape: Shape) -> InputShape:
    """A height and width as people write them."""
    return f"{shape[0]}x{shape[1]}"


def orientations(shape: Shape, *, turned: bool) -> tuple[Shape, ...]:
    """The shape, and behind it the same turned where that is wanted and another one."""
    return (shape, shape[::-1]) if turned and shape[0] != shape[1] else (shape,)


def shape_of(size: Size) -> Shape:
    """The height and width that a network's input, or a sample, shall have.

    Raises:
        ConfigError: a side is no positive multiple of 32.
    """
    height, width = (size, size) if isinstance(size, int) else size
    for side in (height, width):
        if side < STRIDE or side % STRIDE:
            raise ConfigError(f"a side of the network's input must be a positive multiple of {STRIDE}, got {side}")
    return height, width
