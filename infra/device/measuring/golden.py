"""Whether the very network that is about to be measured computes what the float network computes."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

from infra.device.documents.latency_report import GoldenCheck
from infra.device.documents.manifest import Golden
from infra.device.errors import ContractError
from infra.device.measuring.runtime import LoadedModel

if TYPE_CHECKING:
    import numpy as np

MAX_GOLDEN_BYTES = 64 << 20  # of both arrays: 16 images of 512x512, in and out
INFINITELY_WRONG = 1e9  # a difference in a report is a finite number


def check_golden(model: LoadedModel, path: Path, golden: Golden) -> GoldenCheck:
    """Runs every golden image and says how far the output of the worst is from the float network's.

    Each is the mean absolute difference over an image's output. One that is not finite counts as INFINITELY_WRONG. The
    model's input is afterwards what it was.

    Args:
        model: fills its whole batch with each image.
        path: of the golden file on this machine.
        golden: what the manifest says of it.

    Raises:
        ContractError: the file is damaged, too large, or not of this network's input and output.
        DeviceMissingError: the stick is lost.
    """
    inputs, outputs = _read(path)
    _check("inputs", "shape (N, …)", inputs.shape[1:], model.input_shape[1:])
    _check("inputs", "type", str(inputs.dtype), model.input_type)
    _check("outputs", "images", len(outputs), len(inputs))
    worst = max(_difference(model.compute(image), wanted) for image, wanted in zip(inputs, outputs))
    return GoldenCheck(images_count=len(inputs), worst_difference=worst, tolerance=golden.tolerance)


def _read(path: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Images (N, …) of any type and outputs (N, …) float32, finite, N at least 1."""
    import numpy as np  # comes with openvino

    try:
        with ZipFile(path) as archive:  # what is packed small may be large
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_GOLDEN_BYTES:
            raise ValueError(f"got {size} bytes, wanted at most {MAX_GOLDEN_BYTES}")
        with np.load(path, allow_pickle=False) as arrays:
            inputs, outputs = np.asarray(arrays["inputs"]), np.asarray(arrays["outputs"])  # bytes are none
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, MemoryError, BadZipFile, zlib.error) as error:
        raise ContractError(f"golden file: cannot be read: {' '.join(str(error).split())[:500]}") from error
    _check("outputs", "type", str(outputs.dtype), "float32")
    if inputs.ndim < 2 or outputs.ndim < 2 or inputs.size == 0 or outputs.size == 0:
        raise ContractError(f"golden file: got shapes {inputs.shape} and {outputs.shape}, wanted images and outputs")
    if not np.isfinite(outputs).all():
        raise ContractError("golden file: got outputs that are not finite numbers")
    return inputs, outputs


def _difference(got: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> float:
    """Mean absolute difference of outputs (B, …) from one output (…), at most INFINITELY_WRONG."""
    import numpy as np

    _check("outputs", "shape (N, …)", wanted.shape, got.shape[1:])
    difference = float(np.abs(got.astype(np.float64) - wanted).mean())
    return min(difference, INFINITELY_WRONG) if np.isfinite(difference) else INFINITELY_WRONG


def _check(name: str, what: str, got: object, wanted: object) -> None:
    if got != wanted:
        raise ContractError(f"golden file, {name}: got {what} {got}, wanted {wanted}, as the network has it")
