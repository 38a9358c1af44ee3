"""Layers of a really quantised network go back to float until the bound holds, and no further."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
import torch
from numpy.typing import NDArray

from modnet.errors import ConfigError, DatasetError, ExportError
from modnet.export.accuracy_control import AccuracyBound, put_back, restore_accuracy, rounded_layers
from modnet.export.export import export_network
from modnet.export.merge_norm import merge_norms
from modnet.export.narrow_convolution import narrow_convolutions_as_products
from modnet.export.quantise import quantise
from modnet.export.runtime import core
from modnet.export.torch_to_onnx import export_onnx
from modnet.graph_function import GraphFunction
from modnet.records import QuantisationDecision
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from tests.unit.modnet.random_network import random_network

Pixels = NDArray[np.float32]
Models = tuple[ov.Model, ov.Model]
FLOAT_MSE = 1e-4
COUNT = 3

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pixels() -> list[Pixels]:
    generator = np.random.default_rng(0)
    return [generator.uniform(-1, 1, (1, 3, 64, 64)).astype(np.float32) for _ in range(COUNT)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, pixels: list[Pixels]) -> Models:
    """A float graph and its quantised form."""
    network = random_network(ModnetSpec.tiny())
    model = core().read_model(export_onnx(network, tmp_path_factory.mktemp("onnx") / "modnet.onnx", size=64))
    merge_norms(model)
    assert narrow_convolutions_as_products(model) == 1
    return model, quantise(model, pixels)


def matte_of(model: ov.Model) -> GraphFunction:
    compiled = core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda pixels: np.array(compiled(pixels)[0])


@pytest.fixture(scope="module")
def tune(models: Models, pixels: list[Pixels]) -> AccuracyBound:
    """True mattes that the float network misses by 0.01 everywhere, so that its MSE is `FLOAT_MSE`."""
    truths = [matte_of(models[0])(one) + 0.01 for one in pixels]

    def error_of(matte: GraphFunction, index: int) -> float:
        return float(np.square(matte(pixels[index]) - truths[index]).mean())

    return AccuracyBound(COUNT, error_of, FLOAT_MSE)


@pytest.fixture(scope="module")
def decide(models: Models, tune: AccuracyBound) -> Callable[..., tuple[ov.Model, QuantisationDecision]]:
    def restore(increase: float, max_float_layers: int = 100) -> tuple[ov.Model, QuantisationDecision]:
        return restore_accuracy(
            *models, replace(tune, max_relative_increase=increase, max_float_layers=max_float_layers)
        )

    return restore


def test_put_back_gives_the_float_network_when_no_layer_is_left(models: Models, pixels: list[Pixels]) -> None:
    model, quantised = models[0], models[1].clone()
    layers = rounded_layers(quantised)
    assert len(layers) > 30
    assert np.abs(matte_of(quantised)(pixels[0]) - matte_of(model)(pixels[0])).max() > 1e-3
    for layer in layers:
        put_back(quantised, model, layer)
    assert rounded_layers(quantised) == []
    np.testing.assert_allclose(matte_of(quantised)(pixels[0]), matte_of(model)(pixels[0]), atol=1e-5)


def test_restore_accuracy_leaves_every_layer_when_the_bound_holds(decide, models: Models) -> None:
    _, decision = decide(10.0)
    assert decision.is_within_bound
    assert decision.float_layers == ()
    assert [one.layer for one in decision.layers] == rounded_layers(models[1])
    assert {one.harm for one in decision.layers} == {None}
    assert decision.error == decision.all_rounded_error > FLOAT_MSE


def test_restore_accuracy_puts_the_most_harmful_back_until_the_bound_holds(
    decide, models: Models, tune: AccuracyBound
) -> None:
    _, loose = decide(10.0)
    increase = 0.5 * (loose.all_rounded_error / FLOAT_MSE - 1)  # half of the damage is allowed
    network, decision = decide(increase)
    assert decision.is_within_bound
    assert 1 <= len(decision.float_layers) < len(decision.layers)
    harms = [one.harm for one in decision.layers]
    assert harms == sorted(harms, reverse=True)
    assert decision.float_layers == tuple(one.layer for one in decision.layers[: len(decision.float_layers)])
    steps = [one.error_when_put_back for one in decision.layers[: len(decision.float_layers)]]
    assert all(step > decision.allowed_error for step in steps[:-1])
    measured = sum(tune.error_of(matte_of(network), index) for index in range(COUNT)) / COUNT
    assert measured == pytest.approx(decision.error) == pytest.approx(steps[-1])
    assert not set(rounded_layers(network)) & set(decision.float_layers)
    assert len(rounded_layers(models[1])) == len(decision.layers)  # the given network is as it was
    assert decide(increase)[1] == decision


def test_restore_accuracy_says_so_when_the_bound_cannot_be_met(decide) -> None:
    _, decision = decide(0.0, max_float_layers=1)
    assert not decision.is_within_bound
    assert len(decision.float_layers) == 1
    assert decision.error > decision.allowed_error == FLOAT_MSE


def test_restore_accuracy_raises_when_its_input_is_unfit(models: Models, tune: AccuracyBound) -> None:
    def restore(**changes: Any) -> None:
        restore_accuracy(*models, replace(tune, **changes))

    with pytest.raises(DatasetError, match="needs images of the tune split, got none"):
        restore(images=0)
    with pytest.raises(ConfigError, match=r"max_relative_error_increase: got -0.1, wanted at least 0"):
        restore(max_relative_increase=-0.1)
    with pytest.raises(ExportError, match="float network: got nan"):
        restore(float_error=float("nan"))
    with pytest.raises(ExportError, match="quantised network: got nan"):
        restore(error_of=lambda matte, index: float("nan"))


@pytest.mark.parametrize("steps", [0, 2], ids=["as-given", "trained"])
def test_export_network_leaves_int8_out_with_its_decision_when_the_bound_cannot_be_met(
    tune: AccuracyBound, pixels: list[Pixels], tmp_path: Path, steps: int
) -> None:
    torch.manual_seed(0)
    report = export_network(
        *(MODNet(ModnetSpec.tiny()), tmp_path / "export"),
        size=64,
        targets=["cpu-fp32", "cpu-int8"],
        calibration=pixels,
        bound=replace(tune, max_float_layers=0, max_relative_increase=0.0),
        quantisation_aware_steps=steps,
        parity_images=pixels[:1],
    )
    assert report.int8 is not None
    assert report.int8.training_steps == steps
    assert report.int8.verdict in report.refused["cpu-int8"]
    assert set(report.files) == {"modnet.onnx", "modnet-cpu-fp32.xml", "modnet-cpu-fp32.bin"}


def test_export_network_leaves_nothing_when_accuracy_control_is_interrupted(
    tune: AccuracyBound, pixels: list[Pixels], tmp_path: Path
) -> None:
    def interrupted(matte: GraphFunction, index: int) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_network(
            *(MODNet(ModnetSpec.tiny()), tmp_path / "export"),
            size=64,
            targets=["cpu-int8"],
            calibration=pixels,
            bound=replace(tune, error_of=interrupted),
            parity_images=pixels[:1],
        )
    assert list(tmp_path.iterdir()) == []
