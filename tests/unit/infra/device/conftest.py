"""A tiny real IR."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino
import pytest
from openvino import opset8


@pytest.fixture
def ir_xml(tmp_path: Path) -> Path:
    """An IR that doubles its input `input` of shape (1, 3, 8, 8)."""
    image = opset8.parameter([1, 3, 8, 8], np.float32, name="input")
    two = opset8.constant(np.full((1, 3, 1, 1), 2.0, np.float32))
    network = openvino.Model([opset8.multiply(image, two)], [image], "doubled")
    path = tmp_path / "cpu-fp32.xml"
    openvino.save_model(network, path, compress_to_fp16=False)
    return path
