"""Where an exported network starts to compute something else than its source."""

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from modnet.export.runtime import core
from modnet.graph_function import Pixels, image_of
from modnet.network import PrunableNetwork, folded

TOLERANCE = 0.02
"""Largest accepted mean difference of a layer's outputs over their mean size; float16 weights stay below 0.003."""


def first_divergence(network: PrunableNetwork, path: Path, images: Sequence[Pixels]) -> str | None:
    """The name of the first convolution or linear layer, in the order of computation, that differs for any image.

    Args:
        path: the network's ONNX file or IR; layers are found by the names that the export gave them.
        images: network inputs, float32 (1, C, H, W) in [-1, 1].

    Returns:
        The module's name in the network, as `detail.hr4x.0.conv`; None where no layer is beyond `TOLERANCE`.
    """
    source, model = folded(network), core().read_model(path)
    named = {node.get_friendly_name(): node for node in model.get_ops()}
    nodes = {_layer_of(name): node for name, node in named.items() if name.endswith(("/Conv", "/MatMul", "/Gemm"))}
    earliest: tuple[int, str] | None = None
    run: Callable[[NDArray[np.float32]], list[NDArray[Any]]] | None = None
    for image in images:
        wanted = {name: values for name, values in _outputs(source, image).items() if name in nodes}
        run = run or _runner(model, [nodes[name] for name in wanted])
        for position, (name, got) in enumerate(zip(wanted, run(image), strict=True)):
            with np.errstate(invalid="ignore", over="ignore"):  # what is infinite differs
                difference, size = np.abs(wanted[name] - got).mean(), np.abs(wanted[name]).mean()
            if not difference <= TOLERANCE * size:  # NaN is beyond
                earliest = min(earliest or (position, name), (position, name))
                break
    return None if earliest is None else earliest[1]


def _outputs(source: nn.Module, image: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """What every convolution and linear layer computes, by name, in the order of computation."""
    outputs: dict[str, NDArray[np.float32]] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda module, inputs, output: outputs.__setitem__(name, output.numpy())

    layers = {name: one for name, one in source.named_modules() if isinstance(one, nn.Conv2d | nn.Linear)}
    with ExitStack() as hooks, torch.inference_mode():
        for name, layer in layers.items():
            hooks.enter_context(layer.register_forward_hook(keep(name)))
        source(torch.from_numpy(image))
    return outputs


def _layer_of(node_name: str) -> str:
    """The module that the exporter named an operation after: `/detail/hr4x/hr4x.1/conv/Conv` → `detail.hr4x.1.conv`."""
    scope = node_name.strip("/").rpartition("/")[0]
    return re.sub(r"(\w+)/\1(\.\d+)", r"\1\2", scope).replace("/", ".")


def _runner(model: ov.Model, nodes: Sequence[Any]) -> Callable[[NDArray[np.float32]], list[NDArray[Any]]]:
    model.add_outputs([node.output(0) for node in nodes])
    compiled = core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    reads_images = compiled.input().element_type == ov.Type.u8

    def run(image: NDArray[np.float32]) -> list[NDArray[Any]]:
        results = compiled(image_of(image) if reads_images else image)
        return [np.array(results[1 + position]) for position in range(len(nodes))]

    return run
