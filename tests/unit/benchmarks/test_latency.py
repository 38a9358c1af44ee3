"""What the latency benchmark computes from its samples: ratios, intervals, and the layer that a node belongs to."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_FILE = Path(__file__).resolve().parents[3] / "benchmarks" / "latency.py"
_SPEC = importlib.util.spec_from_file_location("benchmarks_latency", _FILE)
assert _SPEC is not None
assert _SPEC.loader is not None
latency = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(latency)

LAYERS = (
    "backbone.blocks.3.depthwise",
    "detail.hr2x.0",
    "semantic.squeeze_excite.squeeze",
    "fusion.f2x",
    "fusion.head",
)


def test_ratio_of_medians_is_exact_when_rounds_differ_by_a_common_factor() -> None:
    slow = [20.0, 40.0, 60.0, 80.0]  # the machine slows down; who is slower, and by how much, stays
    assert latency.ratio_of_medians(slow, [ms / 4 for ms in slow]) == pytest.approx((4.0, 4.0, 4.0))


def test_ratio_of_medians_has_an_interval_around_it_when_samples_scatter() -> None:
    above, below = [9.0, 10.0, 11.0, 12.0, 30.0], [5.0, 4.0, 6.0, 5.0, 5.0]
    ratio = latency.ratio_of_medians(above, below)
    assert ratio.value == 11.0 / 5.0
    assert ratio.low < ratio.value < ratio.high
    assert latency.ratio_of_medians(above, below) == ratio


@pytest.mark.parametrize(
    ("node", "originals", "layer"),
    [
        ("conv_1", "/fusion/f2x/conv/Conv/WithoutBiases,Multiply_9", "fusion.f2x"),
        ("MVN_4", "MVN_4,/detail/hr2x/hr2x.0/norm/instance/InstanceNormalization", "detail.hr2x.0"),
        ("Multiply_1_abcd_acdb_/backbone/blocks.3/depthwise/conv/Conv", "", "backbone.blocks.3.depthwise"),
        ("/semantic/squeeze_excite/squeeze/MatMul", "", "semantic.squeeze_excite.squeeze"),
        ("/fusion/Resize_1", "/fusion/Resize_1", "fusion: Resize"),
        ("input", "input", "without a layer"),
    ],
    ids=["convolution", "nested", "reorder", "squeeze", "between-layers", "input"],
)
def test_layer_of_finds_the_module(node: str, originals: str, layer: str) -> None:
    assert latency.layer_of(node, originals, LAYERS) == layer
