"""A float graph → one of 8-bit weights and activations."""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import openvino as ov
import rich

from modnet.export.half_size_head import BORDER, read_rounded_strips
from modnet.export.merge_norm import NORMS
from modnet.graph_function import Pixels


def quantise(model: ov.Model, calibration: Sequence[Pixels]) -> ov.Model:
    """The model with 8-bit weights and activations, by post-training quantisation for CPUs.

    Where settings differ from nncf's defaults, it is because outputs are judged pixel by pixel. Measured on the trained
    unpruned network:

    * preset MIXED: activations that can be negative get a zero point, which lost a third of what symmetric ones lose.
    * bias correction layer by layer on the already quantised network, not the fast one. It costs about as much time
      again as the statistics do.
    * nothing is rounded within a norm. By default both halves are rounded before they are normalised and again behind:
      two passes over the largest tensors of the network, and errors that buy nothing, as norms compute in float anyway.
    * nor for the outermost pixels alone (`heads_at_half_size`): rounding them takes longer than computing them.

    Args:
        model: with norms merged and constants folded (`merge_norms`) and narrow convolutions rewritten; it is not
            touched.
        calibration: network inputs, float32 (1, C, H, W) in [-1, 1]; all are used.
    """
    import nncf  # here, as it takes seconds that only this precision needs

    with _quiet_unless_terminal():
        quantised: ov.Model = nncf.quantize(
            model,
            nncf.Dataset(calibration),
            preset=nncf.QuantizationPreset.MIXED,
            target_device=nncf.TargetDevice.CPU,
            subset_size=len(calibration),
            fast_bias_correction=False,
            ignored_scope=nncf.IgnoredScope(patterns=[NORMS, BORDER], validate=False),
        )
    read_rounded_strips(quantised)
    return quantised


@contextmanager
def _quiet_unless_terminal() -> Iterator[None]:
    """Keeps nncf's progress bars and its log of every layer out of files: it writes them wherever stdout leads."""
    if sys.stdout.isatty():
        yield
        return
    console: Any = rich.get_console()
    logger = logging.getLogger("nncf")
    quiet, level = console.quiet, logger.level
    console.quiet = True
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        console.quiet = quiet
        logger.setLevel(level)
