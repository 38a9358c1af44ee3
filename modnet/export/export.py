"""One network → a folder of everything that can be deployed, each file checked against the network."""

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import Field

from modnet.configs.shape import shape_of
from modnet.errors import AccuracyError, ExportError, LoweringError, ParityError
from modnet.export.accuracy_control import AccuracyBound
from modnet.export.divergence import first_divergence
from modnet.export.onnx_to_openvino import QuantisationAwareTraining, convert_ir, require_pixels
from modnet.export.openvino_graph import OpenvinoGraph
from modnet.export.parity import TOLERANCES, ParityReport, Tolerance, check_parity
from modnet.export.torch_to_onnx import export_onnx
from modnet.graph_function import Pixels, TorchGraph, image_of, pixels_of
from modnet.network import PrunableNetwork
from modnet.records import FileDigest, QuantisationDecision, Record
from modnet.targets import VARIANTS, InputFormat, Shape, Size, Target


class ExportReport(Record):
    """What an export wrote and how close it is to the network."""

    shape: Shape = Field(description="height and width of the input in pixels")
    files: dict[str, FileDigest] = Field(description="by name within the folder")
    parity: dict[str, ParityReport] = Field(description="by form: onnx and every target that was written")
    refused: dict[Target, str] = Field({}, description="targets that were not written, and why")
    int8: QuantisationDecision | None = Field(None, description="which layers are in 8 bits, where that was decided")
    seconds: float = Field(ge=0)


def export_network(
    network: PrunableNetwork,
    folder: Path,
    *,
    stem: str = "modnet",
    size: Size = 512,
    targets: Sequence[Target],
    input_format: InputFormat | None = None,
    max_difference: float = TOLERANCES["fp32"].maximum,
    calibration: Iterable[Pixels] | None = None,
    bound: AccuracyBound | None = None,
    quantisation_aware_steps: int = 0,
    seed: int = 0,
    parity_images: Iterable[Pixels],
) -> ExportReport:
    """Writes `<stem>.onnx` and one IR per target, `<stem>-<target>.xml` and `.bin`, into a new folder.

    Every form is compared with the network in float32 on the same pixels (`TOLERANCES`). A target whose form computes
    something else, or needs what its runtimes do not read, or errs more than `bound` allows, is left out and named.
    After any failure or interruption the folder does not exist.

    Args:
        network: may be in training mode; it is not touched.
        folder: must not exist yet, or be empty.
        size: height and width of the network's input, or the side of a square, in pixels; multiples of 32.
        targets: which IRs; the ONNX file is of open size when one of them is.
        input_format: what the IRs read; None leaves it to each target.
        max_difference: largest difference of the output in any pixel that an FP32 form may have.
        calibration: network inputs, float32 (1, C, H, W) in [-1, 1], for int8.
        bound: what int8 must keep; None does not look.
        quantisation_aware_steps: see `QuantisationAwareTraining`; 0 does not try.
        seed: of that training.
        parity_images: network inputs likewise, at least one.

    Raises:
        ConfigError: a side is no positive multiple of 32.
        ExportError: a conversion failed, images are unfit, or the folder is in use or cannot be written.
        ParityError: ONNX computes something else than the network.
        LoweringError, ParityError, AccuracyError: no target is left; the last one's reason.
    """
    started = time.monotonic()
    images = list(parity_images)
    if len(network.inputs) > 1:
        raise ExportError(f"a {type(network).__name__} has {len(network.inputs)} inputs, graphs are written of one")
    (read,), shape = network.inputs, shape_of(size)
    require_pixels(images, (1, read.channels, *shape), "parity")
    is_dynamic = any(not VARIANTS[target].is_static for target in targets)
    gate = _Gate(network, TorchGraph(network), images)
    tolerances = {**TOLERANCES, "fp32": TOLERANCES["fp32"]._replace(maximum=max_difference)}

    with _new_folder(folder) as staging:
        onnx_path = export_onnx(network, staging / f"{stem}.onnx", size=shape, dynamic=is_dynamic)
        reports = {"onnx": gate.check(onnx_path, tolerances["fp32"])}
        convert = partial(
            convert_ir,
            *(onnx_path, staging),
            calibration=[] if calibration is None else list(calibration),
            bound=bound,
            training=QuantisationAwareTraining(network, quantisation_aware_steps, seed),
            size=shape,
            input_format=input_format,
        )
        refused: dict[Target, str] = {}
        decision: QuantisationDecision | None = None
        for target in targets:
            try:
                ir = convert(targets=[target])[target]
                decision = ir.decision or decision
                reports[target] = gate.check(ir.xml, tolerances[VARIANTS[target].precision])
            except (LoweringError, ParityError, AccuracyError) as error:
                if isinstance(error, AccuracyError):
                    decision = error.decision
                refused[target] = str(error)
                failure = error
                for path in staging.glob(f"{stem}-{target}.*"):
                    path.unlink()
        if len(refused) == len(targets):
            raise failure
        files = {path.name: _exported_file(path) for path in sorted(staging.iterdir())}
    seconds = time.monotonic() - started
    return ExportReport(shape=shape, files=files, parity=reports, refused=refused, int8=decision, seconds=seconds)


@dataclass(frozen=True)
class _Gate:
    network: PrunableNetwork
    reference: TorchGraph
    images: Sequence[Pixels]

    def check(self, path: Path, tolerance: Tolerance) -> ParityReport:
        """Compares the form in `path` with the network; the error names the first layer that differs, too."""
        candidate = OpenvinoGraph(path)
        # One that reads images sees whole steps: both get these.
        images = [pixels_of(image_of(one)) for one in self.images] if candidate.reads_images else self.images
        try:
            return check_parity(self.reference, candidate, images, tolerance, ("the network", path.name))
        except ParityError as error:
            layer = first_divergence(self.network, path, images)
            where = f"the first layer that differs is {layer}" if layer else "no layer differs by itself"
            message = f"{error}; {where}"
            raise ParityError(message, error.max_difference, error.mean_difference, layer) from error


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


def _exported_file(path: Path) -> FileDigest:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    return FileDigest(sha256=digest.hexdigest(), size_bytes=path.stat().st_size)
