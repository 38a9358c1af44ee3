"""Which layers of a quantised network go back to float, so that its error stays within a bound."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset8

from modnet.configs import ExportConfig
from modnet.errors import ConfigError, DatasetError, ExportError
from modnet.export.runtime import core
from modnet.graph_function import GraphFunction, Pixels
from modnet.progress import progress_over
from modnet.records import LayerDecision, QuantisationDecision
from modnet.targets import Shape
from modnet.workload import LabelledData

RANKING_IMAGES = 16
_MOVING = ("Concat", "Transpose")  # they compute nothing: what is rounded before them is rounded behind them


@dataclass(frozen=True)
class AccuracyBound:
    """What a quantised network's error on labelled images may be, and what may be done to get there."""

    images: int  # how many there are, all of a split that choices read and never those of the calibration
    # a network and the index of an image → its error; what is held is the mean over all images
    error_of: Callable[[GraphFunction, int], float]
    float_error: float  # that mean for the float network
    max_relative_increase: float = 0.05  # the mean may be up to float_error · (1 + max_relative_increase); at least 0
    max_float_layers: int = 16  # layers that may go back to float before the attempt ends beyond the bound
    training_steps: int = 0  # of quantisation-aware training that the network has behind it, for the record

    @classmethod
    def on_tune(cls, data: LabelledData, shape: Shape, float_error: float, config: ExportConfig) -> Self:
        """What the config wants on all of the tune split, at one shape."""
        return cls(
            len(data.names("tune")),
            lambda graph, position: data.error(graph, "tune", position, [shape]),
            float_error,
            config.max_relative_error_increase,
            config.max_float_layers,
        )


def calibration_inputs(data: LabelledData, shape: Shape, config: ExportConfig) -> list[Pixels]:
    """What the config calibrates by: network inputs of the first images of fit, float32 (1, C, *shape) in [-1, 1]."""
    count = min(config.calibration_images, len(data.names("fit")))
    return [data.pixels("fit", position, shape) for position in range(count)]


def restore_accuracy(
    model: ov.Model, quantised: ov.Model, bound: AccuracyBound
) -> tuple[ov.Model, QuantisationDecision]:
    """Puts layers back to float, the most harmful first, until the error on all images is within the bound.

    Where the quantised network is within it, or no layer may go back, nothing else is measured. Otherwise a layer's
    harm is how much the error on the first `RANKING_IMAGES` images falls when that layer alone computes in float; then
    the layers go back one at a time, in this order, and after each the whole network is measured on all images. Same
    graphs and images, same decision. Neither graph is touched; `model` is the float one.

    Returns:
        The network, and how it came about; `QuantisationDecision.is_within_bound` says whether it may be used.

    Raises:
        DatasetError: there are no images.
        ConfigError: the increase is negative or no number.
        ExportError: an error is not finite.
    """
    if bound.images < 1:
        raise DatasetError("INT8 accuracy control needs images of the tune split, got none")
    if not bound.max_relative_increase >= 0:
        raise ConfigError(f"max_relative_error_increase: got {bound.max_relative_increase}, wanted at least 0")
    if not (math.isfinite(bound.float_error) and bound.float_error >= 0):
        raise ExportError(f"tune error of the float network: got {bound.float_error}, wanted a finite number from 0 up")
    allowed = bound.float_error * (1 + bound.max_relative_increase)
    current = quantised.clone()
    layers = rounded_layers(quantised)
    all_rounded = error = _mean_error(current, bound, bound.images)
    decisions = {layer: LayerDecision(layer=layer) for layer in layers}
    if error > allowed and bound.max_float_layers:
        harms = _harms(model, quantised, layers, bound)
        ranked = sorted(layers, key=lambda layer: -harms[layer])  # stable: equals in order of running
        decisions = {layer: LayerDecision(layer=layer, harm=harms[layer]) for layer in ranked}
        for layer in progress_over(ranked[: bound.max_float_layers], "putting layers back to float", "layer"):
            if error <= allowed:
                break
            put_back(current, model, layer)
            error = _mean_error(current, bound, bound.images)
            decisions[layer] = LayerDecision(layer=layer, harm=harms[layer], error_when_put_back=error)
    return current, QuantisationDecision(
        tune_images=bound.images,
        float_error=bound.float_error,
        allowed_error=allowed,
        all_rounded_error=all_rounded,
        error=error,
        layers=tuple(decisions.values()),
        training_steps=bound.training_steps,
    )


def rounded_layers(model: ov.Model) -> list[str]:
    """Names of the operations that read 8-bit activations, in order of running: they can go back to float.

    Not those that compute nothing. A Slice takes what is computed in float from a few of them (`heads_at_half_size`).
    """
    return [
        operation.get_friendly_name()
        for operation in model.get_ordered_ops()
        if operation.get_type_name() not in ("FakeQuantize", "Slice", *_MOVING)
        and any(_is_rounded(source) for source in operation.input_values())
    ]


def put_back(quantised: ov.Model, model: ov.Model, layer: str) -> None:
    """Makes one of the `rounded_layers` compute as in the float `model`: input, weights, and the bias that follows it.

    `quantised` is changed in place. Others that read the same rounded activations go on doing so.
    """
    originals = {operation.get_friendly_name(): operation for operation in model.get_ops()}
    operation = next(one for one in quantised.get_ops() if one.get_friendly_name() == layer)
    _restore(operation, originals[layer])
    for target in operation.output(0).get_target_inputs():
        following = target.get_node()
        if following.get_friendly_name() in originals and following.get_type_name() == "Add":
            _restore_constants(following, originals[following.get_friendly_name()])
    quantised.validate_nodes_and_infer_types()


def _harms(model: ov.Model, quantised: ov.Model, layers: list[str], bound: AccuracyBound) -> Mapping[str, float]:
    count = min(RANKING_IMAGES, bound.images)
    reference = _mean_error(quantised, bound, count)
    harms = {}
    for layer in progress_over(layers, "ranking layers by harm", "layer"):
        without = quantised.clone()
        put_back(without, model, layer)
        harms[layer] = reference - _mean_error(without, bound, count)
    return harms


def _mean_error(model: ov.Model, bound: AccuracyBound, count: int) -> float:
    compiled = core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def graph(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.array(compiled(pixels)[0])

    mean = math.fsum(bound.error_of(graph, index) for index in range(count)) / count
    if not math.isfinite(mean):
        raise ExportError(f"tune error of the quantised network: got {mean}, wanted a finite number")
    return mean


def _is_rounded(source: ov.Output) -> bool:
    node = source.get_node()
    if node.get_type_name() in _MOVING:
        return any(_is_rounded(part) for part in node.input_values())
    return bool(node.get_type_name() == "FakeQuantize" and node.input_value(0).get_node().get_type_name() != "Constant")


def _restore(operation: ov.Node, original: ov.Node) -> None:
    _restore_constants(operation, original)
    for index in range(operation.get_input_size()):
        operation.input(index).replace_source_output(_before_rounding(operation.input_value(index)))


def _restore_constants(operation: ov.Node, original: ov.Node) -> None:
    for index in range(original.get_input_size()):
        wanted = original.input_value(index).get_node()
        if wanted.get_type_name() == "Constant":
            constant = opset8.constant(wanted.data)
            constant.set_friendly_name(wanted.get_friendly_name())
            operation.input(index).replace_source_output(constant.output(0))


def _before_rounding(source: ov.Output) -> ov.Output:
    if not _is_rounded(source):
        return source
    node = source.get_node()
    if node.get_type_name() == "FakeQuantize":
        return node.input_value(0)
    before = [_before_rounding(part) for part in node.input_values()]
    is_concat = node.get_type_name() == "Concat"
    moved = opset8.concat(before, node.get_attributes()["axis"]) if is_concat else opset8.transpose(*before)
    return moved.output(0)
