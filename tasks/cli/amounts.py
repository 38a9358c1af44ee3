"""Numbers as people write them: 3.7G, 1.34M."""

from __future__ import annotations

import argparse
import re

_SCALES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


def amount(text: str) -> int:
    """`3.7G` as 3700000000.

    Raises:
        ArgumentTypeError: not a number with or without K, M or G behind it.
    """
    found = re.fullmatch(r"(\d{1,18}(?:\.\d+)?)([KMG]?)", text.strip())  # of more digits floats make infinity
    if found is None:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted a number with or without K, M or G, as 3.7G or 1340000")
    return round(float(found[1]) * _SCALES[found[2]])
