"""What is wrong with a matte, as far as it can be seen in the matte itself."""

import numpy as np

from modnet.workload import Fault
from modnet.workloads.matting.data.images import Matte16

ONE = np.iinfo(np.uint16).max
MARGIN = 1 / 20  # of the shorter side, as wide as the border that is looked at
INVERTED_BORDER = 0.5  # of the border's mean alpha: less is never inverted
INVERTED_DIFFERENCE = 0.25  # by which the border's mean alpha is above the centre's


def faults_of(matte: Matte16) -> tuple[Fault, ...]:
    """All faults of one matte, uint16 (H, W), 0 to 65535; of an empty or full one nothing else is said."""
    if (largest := int(matte.max())) < ONE / 2:
        got = f"no pixel is half a person's, the largest is {_of_one(largest)}"
        return (Fault("empty mattes", got, "a person, where 1 is white: 255 of 8 bits", spoils=True),)
    if (smallest := int(matte.min())) > ONE / 2:
        got = f"every pixel is more than half a person's, the smallest is {_of_one(smallest)}"
        return (Fault("full mattes", got, "a person before a background, which is 0", spoils=True),)
    faults = []
    border, centre = border_and_centre(matte)
    if border > INVERTED_BORDER and border > centre + INVERTED_DIFFERENCE:
        got = f"mean alpha {border:.2f} along the upper border, {centre:.2f} in the centre"
        faults.append(Fault("mattes that look inverted", got, "the person 1, the background 0", spoils=True))
    if not ((matte > 0) & (matte < ONE)).any():
        got = "only 0 and 1"
        faults.append(Fault("mattes of only 0 and 1", got, "values between at the person's border", spoils=False))
    return tuple(faults)


def border_and_centre(matte: Matte16) -> tuple[float, float]:
    """Mean alpha along the upper edge and the upper halves of the sides, and in the middle ninth of the picture.

    A person of a portrait may cross all of the lower border, and mostly fills the centre.
    """
    height, width = matte.shape
    margin = max(1, round(min(height, width) * MARGIN))
    upper = matte[: max(1, height // 2)]
    border = np.concatenate([upper[:margin].ravel(), upper[:, :margin].ravel(), upper[:, -margin:].ravel()])
    centre = matte[height // 3 : height - height // 3, width // 3 : width - width // 3]
    return float(border.mean() / ONE), float(centre.mean() / ONE)


def _of_one(value: int) -> str:
    return f"{value / ONE:.3f} of 1"
