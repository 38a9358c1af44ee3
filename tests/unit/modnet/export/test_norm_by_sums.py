"""A graph whose norms are computed from sums computes the same, in float and between 8-bit layers."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from numpy.typing import NDArray
from openvino import opset8

from modnet.export.merge_norm import NORMS, merge_norms
from modnet.export.norm_by_sums import norms_by_sums
from modnet.export.runtime import core
from modnet.graph_function import TorchGraph

Pixels = list[NDArray[np.float32]]
F32 = {"INFERENCE_PRECISION_HINT": "f32"}


def kinds(model: ov.Model) -> Counter[str]:
    return Counter(operation.get_type_name() for operation in model.get_ops())


def norm(shape: tuple[int, ...], axes: tuple[int, ...] = (2, 3), eps_mode: str = "inside_sqrt") -> ov.Model:
    image = opset8.parameter(list(shape), np.float32)
    return ov.Model([opset8.mvn(image, np.array(axes), True, 1e-5, eps_mode)], [image])


def test_norms_by_sums_computes_the_network(any_exported, pixels: Pixels) -> None:
    model = core().read_model(Path(any_exported.onnx_path))
    merge_norms(model)
    before = kinds(model)["MVN"]
    assert norms_by_sums(model) == before
    assert kinds(model)["MVN"] == 0
    compiled, reference = core().compile_model(model, "CPU", F32), TorchGraph(any_exported.network)
    for one in pixels:
        np.testing.assert_allclose(compiled(one)[0], reference(one), atol=2e-4)
    assert norms_by_sums(model) == 0


@pytest.mark.parametrize("mean", [0.0, 3.0])
def test_norms_by_sums_normalises(mean: float) -> None:
    image = np.random.default_rng(0).normal(mean, 1, (2, 3, 40, 24)).astype(np.float32)
    model = norm(image.shape)
    assert norms_by_sums(model) == 1
    (got,) = core().compile_model(model, "CPU", F32)(image).values()
    wanted = (image - image.mean((2, 3), keepdims=True)) / np.sqrt(image.var((2, 3), keepdims=True) + 1e-5)
    np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_norms_by_sums_of_a_flat_channel_is_a_number() -> None:
    model = norm((1, 2, 40, 24))
    norms_by_sums(model)
    (got,) = core().compile_model(model, "CPU", F32)(np.full((1, 2, 40, 24), 7.3, np.float32)).values()
    assert np.isfinite(got).all()


@pytest.mark.parametrize(
    "model",
    [norm((-1, 3, 8, 8)), norm((1, 3, 8, 8), axes=(1, 2, 3)), norm((1, 3, 8, 8), eps_mode="outside_sqrt")],
    ids=["open", "over channels", "outside"],
)
def test_norms_by_sums_leaves_other_norms_alone(model: ov.Model) -> None:
    assert norms_by_sums(model) == 0


def test_norms_by_sums_keeps_the_layers_names_and_no_name_twice(exported) -> None:
    model = core().read_model(exported.onnx_path)
    merge_norms(model)
    before = {one.get_friendly_name() for one in model.get_ops()}
    norms_by_sums(model)
    names = [one.get_friendly_name() for one in model.get_ops() if one.get_type_name() != "Constant"]
    assert len(set(names)) == len(names)
    assert "/fusion/f2x/norm/Concat" in names
    assert all(re.fullmatch(NORMS, name) for name in set(names) - before)
