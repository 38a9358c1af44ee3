"""Nodes of a compiled graph find the layer that they compute."""

import pytest

from benchmarks.latency.layers import by_kind, layer_of

LAYERS = (
    "backbone.blocks.3.depthwise",
    "detail.hr2x.0",
    "semantic.squeeze_excite.squeeze",
    "fusion.f2x",
    "fusion.head",
)


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
    assert layer_of(node, originals, LAYERS) == layer


def test_kinds_that_the_last_ir_lacks_stand_in_the_order_of_their_names() -> None:
    names = [f"kind {number:02}" for number in range(20)]  # 20 lacked kinds: a set hardly has them in order by chance
    nodes = {
        "unpruned": [{"kind": kind, "layer": "", "ms": 1.0} for kind in [*names[::-1], "convolution"]],
        "pruned": [{"kind": "convolution", "layer": "", "ms": 1.0}],
    }
    assert [row["kind"] for row in by_kind(nodes)] == ["convolution", *names]
