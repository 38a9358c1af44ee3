"""The shipped pruned network keeps its matte on rendered portraits where its head is computed at half the size."""

from pathlib import Path

import numpy as np
import openvino as ov
import pytest

from modnet.export.export import export_network
from modnet.export.parity import TOLERANCES
from modnet.targets import VARIANTS, Target
from modnet.workloads.matting.checkpoint import load
from modnet.workloads.matting.data.preprocessing import prepare
from modnet.workloads.matting.data.synthetic import render_portrait
from modnet.workloads.matting.weights import SHIPPED_SMALL

TARGETS: tuple[Target, ...] = ("cpu-fp32", "cpu-fp16", "cpu-fp32-dynamic", "ncs2-fp16")

pytestmark = pytest.mark.slow


def test_shipped_pruned_network_passes_parity_at_every_pixel(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    portraits = [prepare(render_portrait(rng)[0], "device-512").pixels for _ in range(3)]
    report = export_network(load(SHIPPED_SMALL), tmp_path / "ir", targets=TARGETS, parity_images=portraits)
    assert not report.refused
    assert report.parity["cpu-fp32"].max_difference <= TOLERANCES["fp32"].maximum
    for target in TARGETS:
        model = ov.Core().read_model(tmp_path / "ir" / f"modnet-{target}.xml")
        names = {operation.get_friendly_name() for operation in model.get_ops()}
        is_half = VARIANTS[target].opset_ceiling is None and VARIANTS[target].is_static
        assert ("/fusion/head/Conv/Squares" in names) == is_half, target
        assert ("/fusion/Resize_1" in names) != is_half, target
