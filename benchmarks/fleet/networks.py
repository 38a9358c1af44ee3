"""Three tiny networks as IRs: one that runs, one that never ends, one that kills its process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset8 as op

SHAPE = (1, 3, 8, 8)
GOOD, HANGING, CRASHING = "good", "hanging", "crashing"


def write_networks(folder: Path) -> None:
    """`good.xml`, `hanging.xml`, `crashing.xml`, and the `.bin` of each."""
    for name, output in {GOOD: _good, HANGING: _hanging, CRASHING: _crashing}.items():
        image = op.parameter(SHAPE, np.float32, name="image")
        ov.save_model(ov.Model([output(image)], [image], name), folder / f"{name}.xml", compress_to_fp16=False)


def _good(image: ov.Node) -> ov.Node:
    kernel = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(np.float32)
    return op.sigmoid(op.convolution(image, op.constant(kernel), [1, 1], [1, 1], [1, 1], [1, 1]))


def _hanging(image: ov.Node) -> ov.Node:
    """Adds one, 2^40 times."""
    value = op.parameter(SHAPE, np.float32)
    more = op.add(value, op.constant(np.float32(1)))
    loop = op.loop(op.constant(np.int64(2**40)), op.constant(True))
    loop.set_function(ov.Model([more, op.constant(True)], [value]))
    loop.set_special_body_ports([-1, 1])
    loop.set_merged_input(value, image.output(0), more.output(0))
    return loop.get_iter_value(more.output(0), -1)


def _crashing(image: ov.Node) -> ov.Node:
    """Reads far outside of the image: no runtime checks the indices of GatherND."""
    flat = op.reshape(image, op.constant(np.array([-1], np.int64)), False)
    return op.gather_nd(flat, op.constant(np.array([[2**40]], np.int64)), 0)
