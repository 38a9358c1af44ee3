"""A picture of images with what is true of them and what networks say."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from modnet.data.images import Image


class SheetLine(NamedTuple):
    """One image: its true class, and the class and share that each network says."""

    image: Image
    true: str
    said: tuple[tuple[str, float], ...]


def class_sheet(lines: Sequence[SheetLine], titles: Sequence[str]) -> Figure:
    """One line per image, at least one; as many titles as each line has networks. What is wrong is red."""
    columns = 2 + len(titles)
    figure = Figure(figsize=(2 * columns, 2.2 * len(lines)), layout="constrained")
    grid = figure.subplots(len(lines), columns, squeeze=False)
    for axes, title in zip(grid[0], ("image", "true class", *titles), strict=True):
        axes.set_title(title)
    for row, line in zip(grid, lines, strict=True):
        row[0].imshow(line.image)
        row[0].set(xticks=[], yticks=[])
        words = [(line.true, "black")]
        words += [(f"{name}\n{share:.0%}", "black" if name == line.true else "tab:red") for name, share in line.said]
        for axes, (text, colour) in zip(row[1:], words, strict=True):
            axes.axis("off")
            axes.text(0.5, 0.5, text, ha="center", va="center", color=colour, wrap=True)
    return figure
