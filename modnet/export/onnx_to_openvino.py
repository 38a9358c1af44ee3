"""ONNX → OpenVINO IR in several precisions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from modnet.errors import ExportError
from modnet.export.merge_norm import merge_norms
from modnet.export.quantise import quantise
from modnet.export.runtime import core

Precision = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True)
class Variant:
    """How one IR is made from the ONNX graph.

    Attributes:
        quantised: 8-bit weights and activations where the CPU computes with them.
        half_weights: weights are stored as float16; devices compute in what they have.
    """

    quantised: bool
    half_weights: bool


VARIANTS: Mapping[Precision, Variant] = {
    "fp32": Variant(quantised=False, half_weights=False),
    "fp16": Variant(quantised=False, half_weights=True),
    "int8": Variant(quantised=True, half_weights=False),
}


@dataclass(frozen=True)
class IrFiles:
    """The two files of one IR, neighbours with a common stem."""

    xml: Path
    bin: Path


def convert_ir(
    onnx_path: Path,
    folder: Path,
    *,
    precisions: Sequence[Precision],
    calibration: Iterable[NDArray[np.float32]] | None = None,
) -> dict[Precision, IrFiles]:
    """Writes one IR per precision, `<stem of the ONNX file>-<precision>.xml` and `.bin`, into `folder`.

    All are converted before the first one is moved into `folder`, and an .xml never stands beside the .bin of another
    conversion. Equal ONNX files and calibration images give equal files.

    Args:
        onnx_path: as written by `export_onnx`; for int8 one of fixed input size.
        folder: made when missing.
        precisions: keys of `VARIANTS`.
        calibration: network inputs, float32 (1, 3, S, S) in [-1, 1], for int8; all are used, 16 to 32 portraits are
            plenty. See `quantise`.

    Raises:
        ExportError: unreadable ONNX, an unknown precision, unfit calibration images, or files that cannot be written.
    """
    unknown = [precision for precision in precisions if precision not in VARIANTS]
    if unknown or not precisions:
        raise ExportError(
            f"precisions of the IR: got {list(precisions)}, allowed: one or more of {', '.join(VARIANTS)}"
        )
    images = [] if calibration is None else list(calibration)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent) as temporary:
            written = {
                precision: _write_ir(
                    _converted(onnx_path, VARIANTS[precision], images),
                    Path(temporary) / f"{onnx_path.stem}-{precision}.xml",
                    VARIANTS[precision],
                )
                for precision in precisions
            }
            folder.mkdir(exist_ok=True)
            return {precision: _moved(files, folder) for precision, files in written.items()}
    except OSError as error:
        raise ExportError(f"cannot write the IR of {onnx_path} to {folder}: {error.strerror or error}") from error


def require_pixels(images: Sequence[NDArray[np.float32]], shape: tuple[int, ...], role: str) -> None:
    """Refuses what is not a network input: float32 of `shape` with values in [-1, 1], at least one image.

    Args:
        images: the inputs.
        shape: (1, 3, S, S).
        role: what the images are for, as a noun for messages.

    Raises:
        ExportError: none given, or the first unfit one.
    """
    if not images:
        raise ExportError(f"{role} needs at least 1 image, got none")
    for index, image in enumerate(images):
        if image.dtype != np.float32 or image.shape != shape:
            raise ExportError(f"{role} image {index}: wanted float32 {shape}, got {image.dtype} {image.shape}")
        if not np.abs(image).max() <= 1.0:  # true for NaN as well
            raise ExportError(f"{role} image {index}: wanted values in [-1, 1], got {image.min()} to {image.max()}")


def _converted(onnx_path: Path, variant: Variant, calibration: Sequence[NDArray[np.float32]]) -> ov.Model:
    if not onnx_path.is_file():
        raise ExportError(f"no ONNX file at {onnx_path}")
    try:
        model = core().read_model(onnx_path)  # convert_model reads it likewise, and sends usage statistics
    except Exception as error:  # what OpenVINO's converters raise has no other base in common
        raise ExportError(f"OpenVINO cannot convert {onnx_path}: {error}") from error
    merge_norms(model)
    if variant.quantised:
        if model.is_dynamic():
            raise ExportError(
                f"int8 needs a fixed input size, but that of {onnx_path} is {model.input().partial_shape}"
            )
        require_pixels(calibration, tuple(model.input().shape), "int8 calibration")
        model = quantise(model, calibration)
    _name_by_position(model)
    return model


def _name_by_position(model: ov.Model) -> None:
    """Renames what OpenVINO named by a counter of the process, so that equal models give equal files."""
    for position, operation in enumerate(model.get_ordered_ops()):
        if re.fullmatch(r"[A-Za-z]+_\d+", operation.get_friendly_name()):
            operation.set_friendly_name(f"{operation.get_type_name()}_{position}")


def _write_ir(model: ov.Model, xml: Path, variant: Variant) -> IrFiles:
    files = IrFiles(xml, xml.with_suffix(".bin"))
    try:
        ov.save_model(model, xml, compress_to_fp16=variant.half_weights)
    except RuntimeError as error:  # a full disk, for one
        raise ExportError(f"OpenVINO cannot write {xml.name}: {error}") from error
    return files


def _moved(files: IrFiles, folder: Path) -> IrFiles:
    moved = IrFiles(folder / files.xml.name, folder / files.bin.name)
    moved.xml.unlink(missing_ok=True)
    files.bin.replace(moved.bin)
    files.xml.replace(moved.xml)  # last: whoever sees it finds its .bin
    return moved
