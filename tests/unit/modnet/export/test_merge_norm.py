"""A graph with merged norms computes the same, and nothing takes channels apart any more."""

from collections import Counter
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from numpy.typing import NDArray
from openvino import opset8

from modnet.export.merge_norm import merge_norms
from modnet.export.runtime import core
from modnet.graph_function import TorchGraph
from modnet.workloads.matting.network.blocks import IBNorm

Pixels = list[NDArray[np.float32]]
F32 = {"INFERENCE_PRECISION_HINT": "f32"}


def kinds(model: ov.Model) -> Counter[str]:
    return Counter(operation.get_type_name() for operation in model.get_ops())


def test_merge_norms_computes_the_network(any_exported, pixels: Pixels) -> None:
    modules = any_exported.network.named_modules()
    norms = [one for path, one in modules if isinstance(one, IBNorm) and "detail.head" not in path]  # of training only
    model = core().read_model(any_exported.onnx_path)
    assert merge_norms(model) == sum(norm.batch is not None and norm.instance is not None for norm in norms)
    assert kinds(model)["MVN"] == sum(norm.instance is not None for norm in norms)
    compiled, reference = core().compile_model(model, "CPU", F32), TorchGraph(any_exported.network)
    for one in pixels:
        np.testing.assert_allclose(compiled(one)[0], reference(one), atol=2e-5)
    assert merge_norms(model) == 0


def test_merge_norms_computes_the_network_at_every_size_when_sizes_are_open(exported_dynamic) -> None:
    model = core().read_model(exported_dynamic.onnx_path)
    assert merge_norms(model) > 0
    compiled, reference = core().compile_model(model, "CPU", F32), TorchGraph(exported_dynamic.network)
    for shape in ((1, 3, 64, 96), (2, 3, 32, 32)):
        one = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
        np.testing.assert_allclose(compiled(one)[0], reference(one), atol=2e-5)


@pytest.mark.parametrize(
    ("first", "second"), [((0, 2), (3, 6)), ((0, 3), (2, 6)), ((1, 3), (3, 6))], ids=["gap", "overlap", "late"]
)
def test_merge_norms_leaves_other_halves_alone(first: tuple[int, int], second: tuple[int, int]) -> None:
    image = opset8.parameter([1, 6, 4, 4], np.float32)

    def cut(start: int, stop: int) -> ov.Node:
        return opset8.slice(image, *(np.array([value]) for value in (start, stop, 1, 1)))

    instance = opset8.mvn(cut(*second), np.array([2, 3]), True, 1e-5, "inside_sqrt")
    model = ov.Model([opset8.concat([cut(*first), instance], 1)], [image])
    assert merge_norms(model) == 0
    assert kinds(model)["Slice"] == 2


def test_merge_norms_keeps_names_of_the_layers(exported, tmp_path: Path) -> None:
    model = core().read_model(exported.onnx_path)
    merge_norms(model)
    names = [operation.get_friendly_name() for operation in model.get_ops()]
    assert "/fusion/f2x/norm/Concat" in names
    assert len(set(names)) == len(names)
