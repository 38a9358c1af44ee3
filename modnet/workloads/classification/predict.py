"""What a classifier says of photographs, in words. Nothing here needs torch."""

from collections.abc import Sequence
from pathlib import Path

from modnet.data.images import read_image
from modnet.graph_function import GraphFunction
from modnet.targets import Shape
from modnet.workloads.classification.preprocessing import Share, fitting, logits_of, prepare, ranked, shares

LARGEST_SIDE = 224  # of an input, in pixels: that of the published network, and of one that does not say what it reads
TOLD = 5  # classes of one photograph; of several only the first


def classes_of(
    images: Sequence[Path], graph: GraphFunction, shapes: Sequence[Shape], classes: Sequence[str]
) -> list[dict[str, str]]:
    """Rows of image, class and share: the likeliest classes of one photograph, or the likeliest of each of several.

    Raises:
        DatasetError: an image cannot be read.
        ConfigError: the graph's output is not one logit for each class.
    """
    count = TOLD if len(images) == 1 else 1
    return [
        {"image": path.name, "class": one.name, "share": f"{one.share:.4f}"}
        for path in images
        for one in likeliest(path, graph, shapes, classes, count)
    ]


def likeliest(
    path: Path, graph: GraphFunction, shapes: Sequence[Shape], classes: Sequence[str], count: int
) -> list[Share]:
    """The classes of the largest shares, the largest first; of a photograph as the shape that fits it best."""
    image = read_image(path)
    shape = fitting(shapes or ((LARGEST_SIDE, LARGEST_SIDE),), image.shape[:2])
    logits = logits_of(graph, prepare(image, shape), len(classes))
    share = shares(logits)
    return [Share(classes[number], float(share[number])) for number in ranked(logits, count)]
