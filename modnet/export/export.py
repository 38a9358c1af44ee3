"""One network → a folder of everything that can be deployed, each file checked against the network."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from modnet.errors import ExportError, ParityError
from modnet.export.onnx_to_openvino import Precision, convert_ir, require_pixels
from modnet.export.parity import TOLERANCES, ParityReport, check_parity
from modnet.export.predictors import OpenvinoMatte, TorchMatte
from modnet.export.torch_to_onnx import export_onnx
from modnet.models.modnet import MODNet
from modnet.records import Record


class ExportedFile(Record):
    """What the bytes of a file must be."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=1)


class ExportReport(Record):
    """What an export wrote and how close it is to the network."""

    size: int = Field(ge=32, description="side of the square input in pixels")
    files: dict[str, ExportedFile] = Field(description="by name within the folder")
    parity: dict[str, ParityReport] = Field(description="by form: onnx and every precision that was written")
    refused: dict[str, str] = Field({}, description="precisions whose rounding moved the matte too far, and how far")
    seconds: float = Field(ge=0)


def export_network(
    network: MODNet,
    folder: Path,
    *,
    size: int = 512,
    precisions: Sequence[Precision] = ("fp32", "fp16", "int8"),
    calibration: Iterable[NDArray[np.float32]] | None = None,
    parity_images: Iterable[NDArray[np.float32]],
) -> ExportReport:
    """Writes `modnet.onnx` and one IR per precision, `modnet-<precision>.xml` and `.bin`, into a new folder.

    Every form is compared with the network in float32 on the same pixels (`TOLERANCES`). A smaller precision that is
    beyond is left out and named, since its rounding is to blame and not the conversion. After any failure or
    interruption the folder does not exist.

    Args:
        network: may be in training mode; it is not touched.
        folder: must not exist yet, or be empty.
        size: side of the network's input in pixels, a multiple of 32.
        precisions: which IRs.
        calibration: network inputs, float32 (1, 3, size, size) in [-1, 1], for int8.
        parity_images: network inputs likewise, at least one.

    Raises:
        ConfigError: the size is no positive multiple of 32.
        ExportError: a conversion failed, images are unfit, or the folder is in use or cannot be written.
        ParityError: ONNX or FP32 compute something else than the network.
    """
    started = time.monotonic()
    images = list(parity_images)
    require_pixels(images, (1, 3, size, size), "parity")
    reference = TorchMatte(network)

    def parity(form: str, path: Path) -> ParityReport:
        maximum, mean = TOLERANCES[form]
        names = ("the network", path.name)
        return check_parity(
            reference, OpenvinoMatte(path), images, max_tolerance=maximum, mean_tolerance=mean, names=names
        )

    with _new_folder(folder) as staging:
        onnx_path = export_onnx(network, staging / "modnet.onnx", size=size)
        reports = {"onnx": parity("onnx", onnx_path)}
        irs = convert_ir(onnx_path, staging, precisions=precisions, calibration=calibration)
        refused = {}
        for precision, ir in irs.items():
            try:
                reports[precision] = parity(precision, ir.xml)
            except ParityError as error:
                if precision == "fp32":
                    raise
                refused[precision] = str(error)
                ir.xml.unlink()
                ir.bin.unlink()
        files = {path.name: _exported_file(path) for path in sorted(staging.iterdir())}
    return ExportReport(size=size, files=files, parity=reports, refused=refused, seconds=time.monotonic() - started)


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty folder that becomes `folder` when the block succeeds and vanishes when it fails."""
    try:
        if folder.exists() and any(folder.iterdir()):
            raise ExportError(f"cannot export to {folder}: it is not empty")
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = TemporaryDirectory(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent)
    except OSError as error:
        raise ExportError(f"cannot export to {folder}: {error.strerror or error}") from error
    with temporary as name:
        staging = Path(name) / folder.name  # one deeper, as TemporaryDirectory shuts its own from other users
        staging.mkdir()
        yield staging
        try:
            staging.replace(folder)
        except OSError as error:
            raise ExportError(f"cannot move the finished export to {folder}: {error.strerror or error}") from error


def _exported_file(path: Path) -> ExportedFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    return ExportedFile(sha256=digest.hexdigest(), size_bytes=path.stat().st_size)
