"""ONNX files and IRs, which may come from anywhere: what is read is a network of images, or is refused in our words."""

import json
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import openvino as ov

from modnet.errors import GraphError
from modnet.export.runtime import core
from modnet.targets import Shape

WORKLOAD_KEY, OUTPUTS_KEY = "workload", "outputs"  # in an ONNX file's metadata; OpenVINO takes them over into IRs
_LONGEST = 300  # characters of the runtime's own words
_FLOATS = (ov.Type.f16, ov.Type.f32, ov.Type.f64)


def read_graph(path: Path) -> ov.Model:
    """The network in an IR (`.xml`) or an ONNX file (any other name).

    Raises:
        GraphError: as `read_ir` and `read_onnx` do.
    """
    return read_ir(path) if path.suffix == ".xml" else read_onnx(path)


def read_onnx(path: Path) -> ov.Model:
    """The network in an ONNX file.

    Raises:
        GraphError: missing, unreadable, or no graph of one image → one tensor.
    """
    if path.suffix == ".xml":
        raise GraphError(f"cannot load {path}: an .xml belongs to an IR, wanted an ONNX file")
    _require_filled(path)
    return _read(path)


def read_ir(xml: Path) -> ov.Model:
    """The network in an IR.

    Raises:
        GraphError: as `read_onnx`, or one of its two files is missing, cut off or of another network.
    """
    if xml.suffix != ".xml":
        raise GraphError(f"cannot load {xml}: an IR is named by its .xml, which has its .bin beside it")
    _require_filled(xml)
    _require_file(xml, xml.with_suffix(".bin"))  # empty where a network has no constants
    _require_own_weights(xml)
    return _read(xml)


class Described(NamedTuple):
    """What a graph says of itself."""

    workload: str | None  # None: it does not say, as graphs whose outputs have no names
    output_names: tuple[str, ...] = ()  # along axis 1


def described(model: ov.Model) -> Described:
    """What an ONNX file of `export_onnx`, or an IR that was made of one, says of itself.

    Raises:
        GraphError: the names of its outputs are damaged.
    """
    found = {
        key: model.get_rt_info(["framework", key]).astype(str)
        for key in (WORKLOAD_KEY, OUTPUTS_KEY)
        if model.has_rt_info(["framework", key])
    }
    text = found.get(OUTPUTS_KEY, "[]")
    try:
        names = json.loads(text)
    except ValueError as error:
        raise GraphError(f"the graph's names of outputs are damaged: {text[:100]!r}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise GraphError(f"the graph's names of outputs: got {text[:100]!r}, wanted a list of names")
    return Described(found.get(WORKLOAD_KEY), tuple(names))


def pixel_shape(port: ov.Output) -> ov.PartialShape:
    """The shape of an input, in the order of pixels (B, 3, H, W) also where it reads images, uint8 (B, H, W, 3)."""
    shape = port.partial_shape
    is_image = port.element_type == ov.Type.u8 and shape.rank.is_static and len(shape) == 4
    return ov.PartialShape([shape[index] for index in (0, 3, 1, 2)]) if is_image else shape


def fixed_shape(model: ov.Model) -> Shape | None:
    """Height and width that a graph reads, in pixels; None where one of them is open."""
    height, width = list(pixel_shape(model.input()))[2:]
    return None if height.is_dynamic or width.is_dynamic else (height.get_length(), width.get_length())


def runtime_words(error: Exception) -> str:
    """What OpenVINO says in one line, without the places in its source that it names first."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = " ".join(line for line in lines if line and not line.startswith("Exception from "))
    return re.sub(r"Check '.*?' failed at \S+?:\d+: ?", "", said)[:_LONGEST]


def _require_file(path: Path, file: Path) -> None:
    if file.is_dir():
        raise GraphError(f"cannot load {path}: {file} is a folder, wanted a file")
    if not file.is_file():
        raise GraphError(f"cannot load {path}: there is no file {file}")


def _require_filled(path: Path) -> None:
    _require_file(path, path)
    if not path.stat().st_size:
        raise GraphError(f"cannot load {path}: it is empty")


def _require_own_weights(xml: Path) -> None:
    """Refuses a .bin of another length than the .xml describes: OpenVINO reads what is too long without a word."""
    ends = [0]
    for data in re.findall(r"<data\b[^>]*>", xml.read_text(encoding="utf-8", errors="replace")):
        place = dict(re.findall(r'\b(offset|size)="(\d+)"', data))
        if len(place) == 2:
            ends.append(int(place["offset"]) + int(place["size"]))
    wanted, got = max(ends), xml.with_suffix(".bin").stat().st_size
    if wanted != got:
        why = "it is cut or of another network"
        raise GraphError(f"cannot load {xml}: its .bin has {got} bytes, wanted {wanted}: {why}")


def _read(path: Path) -> ov.Model:
    try:
        model = core().read_model(path)  # convert_model reads ONNX likewise, and sends usage statistics
    except Exception as error:  # what OpenVINO's readers raise has no other base in common
        raise GraphError(f"cannot load {path}: OpenVINO cannot read it: {runtime_words(error)}") from error
    _require_network_of_images(model, path)
    for constant in model.get_ops():
        if constant.get_type_name() != "Constant" or constant.get_element_type() not in _FLOATS:
            continue
        if np.isnan(constant.data).any():
            raise GraphError(f"cannot load {path}: {constant.get_friendly_name()!r} has values that are no number")
    return model


def _require_network_of_images(model: ov.Model, path: Path) -> None:
    inputs, outputs = [pixel_shape(port) for port in model.inputs], [port.partial_shape for port in model.outputs]
    is_single, refusal = len(inputs) == len(outputs) == 1, f"{path} is no network of images: wanted"
    if not is_single or not inputs[0].compatible(ov.PartialShape([-1] * 4)) or outputs[0].rank == ov.Dimension(0):
        raise GraphError(f"{refusal} one input (B, C, H, W) and one output, got {shapes_of(model)}")
    if (kind := model.input().element_type) not in (ov.Type.f32, ov.Type.u8):
        raise GraphError(f"{refusal} an input of float32 pixels, or uint8 images, got {kind.get_type_name()}")


def shapes_of(model: ov.Model) -> str:
    """`(1, 3, H, W) → (1, 1, H, W)`, for errors."""
    sides = [pixel_shape(port) for port in model.inputs], [port.partial_shape for port in model.outputs]
    return " → ".join(", ".join(map(str, shapes)) or "nothing" for shapes in sides)
