"""Whether pictures of two sets are the same, also after they were resized or compressed anew.

The fingerprint is dHash (Krawetz, "Kind of Like That", 2013) of 16 × 16 comparisons: is the picture brighter to the
right? On 100 and 1,094 photographs of one source, copies at half the size and JPEG quality 60 differ in at most 10 of
256 bits, other pictures in at least 66.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from modnet.errors import DatasetError
from modnet.progress import progress_over
from modnet.workloads.matting.data.images import Image, read_image

SIDE = 16  # comparisons in a row and rows of them
MOST_DIFFERENT_BITS = 32  # of SIDE² that copies have


def require_no_copies(unlabelled: Sequence[Path], scored: Sequence[Path]) -> None:
    """Refuses pictures that scores are measured on among those that are learnt from; the unreadable are no copies.

    Raises:
        DatasetError: there are copies; names the first five.
    """
    learnt, measured = _fingerprints(unlabelled), _fingerprints(scored)
    if not learnt or not measured:
        return
    bits = np.stack(list(measured.values()))
    found = []
    for path, fingerprint in learnt.items():
        different = np.count_nonzero(bits != fingerprint, axis=1)
        if different.min() <= MOST_DIFFERENT_BITS:
            found.append(f"{path.name} is {list(measured)[int(different.argmin())].name}")
    if found:
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise DatasetError(
            f"{len(found)} of {len(unlabelled)} unlabelled images are copies of images that scores are measured on: "
            f"{', '.join(found[:5])}{more}; leave them out"
        )


def fingerprint(image: Image) -> NDArray[np.bool_]:
    """256 bits of an image, uint8 (H, W, 3)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SIDE + 1, SIDE), interpolation=cv2.INTER_AREA)
    brighter: NDArray[np.bool_] = (small[:, 1:] > small[:, :-1]).ravel()
    return brighter


def _fingerprints(paths: Iterable[Path]) -> dict[Path, NDArray[np.bool_]]:
    found = {}
    for path in progress_over(list(paths), "looking for copies", "image"):
        try:
            found[path] = fingerprint(read_image(path))
        except DatasetError:
            continue
    return found
