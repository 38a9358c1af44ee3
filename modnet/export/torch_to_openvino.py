"""PyTorch → OpenVINO without ONNX between: for networks that are only timed, whatever operations they have."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import openvino
from torch import Tensor, nn

from modnet.errors import ExportError


def convert_traced(network: nn.Module, example_inputs: Sequence[Tensor], xml: Path) -> Path:
    """Writes the FP32 IR of a network in evaluation mode, whose inputs have the shapes of the examples.

    Raises:
        ExportError: OpenVINO cannot convert it.
    """
    xml.parent.mkdir(parents=True, exist_ok=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the tracer, about networks that are not ours
            model = openvino.convert_model(
                network.eval(), example_input=tuple(example_inputs), input=[list(one.shape) for one in example_inputs]
            )
        openvino.save_model(model, xml, compress_to_fp16=False)
    except Exception as error:  # its frontend raises classes of its own for each operation
        reason = str(error).strip().partition("\n")[0]
        raise ExportError(f"OpenVINO cannot convert {type(network).__name__}: {reason}") from error
    return xml
