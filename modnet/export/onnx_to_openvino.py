"""ONNX → one OpenVINO IR for each target."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import openvino as ov
from openvino.passes import ConvertFP32ToFP16, Manager, Serialize
from openvino.preprocess import PrePostProcessor

from modnet.configs.shape import shape_of
from modnet.errors import AccuracyError, ExportError, GraphError
from modnet.export.accuracy_control import AccuracyBound, restore_accuracy
from modnet.export.graph_file import pixel_shape, read_onnx, runtime_words
from modnet.export.half_size_head import heads_at_half_size
from modnet.export.input_size import resize_by_scales
from modnet.export.legacy_ir import fold_constants, lower
from modnet.export.merge_norm import merge_norms
from modnet.export.narrow_convolution import narrow_convolutions_as_products
from modnet.export.norm_by_sums import norms_by_sums
from modnet.export.quantise import quantise
from modnet.export.shrunk_image import shrunk_images_as_convolutions
from modnet.export.torch_to_onnx import export_onnx
from modnet.graph_function import Pixels
from modnet.network import PrunableNetwork
from modnet.progress import progress_over
from modnet.records import QuantisationDecision
from modnet.targets import VARIANTS, InputFormat, Shape, Size, Target, Variant
from modnet.training.quantisation_aware import train_quantisation_aware


@dataclass(frozen=True)
class IrFiles:
    """The two files of one IR, neighbours with a common stem; `decision` is of an INT8 network of controlled error."""

    xml: Path
    bin: Path
    decision: QuantisationDecision | None = None


@dataclass(frozen=True)
class QuantisationAwareTraining:
    """What is tried where int8 does not keep its bound: weights that have learnt to bear rounding."""

    network: PrunableNetwork  # that the ONNX file is of
    steps: int  # of `train_quantisation_aware` on the calibration images; 0 does not try
    seed: int = 0  # of that training


def convert_ir(
    onnx_path: Path,
    folder: Path,
    *,
    targets: Sequence[Target],
    calibration: Iterable[Pixels] | None = None,
    bound: AccuracyBound | None = None,
    training: QuantisationAwareTraining | None = None,
    size: Size = 512,
    input_format: InputFormat | None = None,
) -> dict[Target, IrFiles]:
    """Writes one IR per target, `<stem of the ONNX file>-<target>.xml` and `.bin`, into `folder`, made when missing.

    All are converted before the first one is moved into `folder`, and an .xml never stands beside the .bin of another
    conversion. Equal ONNX files and calibration images give equal files.

    Args:
        onnx_path: as written by `export_onnx`.
        calibration: network inputs, float32 (1, C, H, W) in [-1, 1], for int8 (`quantise`); all are used, 16 to 32 are
            plenty.
        bound: what int8 must keep, see `restore_accuracy`; None leaves every layer in 8 bits.
        training: once more from trained weights where int8 does not keep `bound`; None does not try.
        size: height and width that targets of fixed input read, or the side of a square, in pixels, where the ONNX file
            leaves them open.
        input_format: what the IRs read; None leaves it to each target.

    Raises:
        AccuracyError: int8 cannot be brought within `bound`.
        ConfigError: a side is no positive multiple of 32.
        GraphError: the ONNX file cannot be read, or is no network of images.
        LoweringError: an operation that a target's runtimes do not read.
        ExportError: an unknown target or one that this ONNX file cannot serve, unfit calibration images, or files that
            cannot be written.
    """
    shape = shape_of(size)
    unknown = [target for target in targets if target not in VARIANTS]
    if unknown or not targets:
        raise ExportError(f"targets of the IR: got {list(targets)}, allowed: one or more of {', '.join(VARIANTS)}")
    images = [] if calibration is None else list(calibration)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent) as temporary:
            written = {}
            for target in progress_over(targets, "converting", "target"):
                format_ = input_format or VARIANTS[target].input_format
                convert = partial(_converted, target=target, calibration=images, shape=shape, input_format=format_)
                try:
                    model, decision = convert(onnx_path, bound=bound)
                except AccuracyError:
                    if training is None or not training.steps or bound is None:
                        raise
                    trained = _trained(training, images, Path(temporary) / onnx_path.name)
                    model, decision = convert(trained, bound=replace(bound, training_steps=training.steps))
                xml = Path(temporary) / f"{onnx_path.stem}-{target}.xml"
                written[target] = _write_ir(model, IrFiles(xml, xml.with_suffix(".bin"), decision), VARIANTS[target])
            folder.mkdir(exist_ok=True)
            return {target: _moved(files, folder) for target, files in written.items()}
    except OSError as error:
        raise ExportError(f"cannot write the IR of {onnx_path} to {folder}: {error.strerror or error}") from error


def require_pixels(images: Sequence[Pixels], shape: tuple[int, ...], role: str) -> None:
    """Refuses what is no network input: float32 of `shape`, (1, C, H, W), with values in [-1, 1], at least one image.

    Raises:
        ExportError: none given, or the first unfit one; `role` says what they are for.
    """
    if not images:
        raise ExportError(f"{role} needs at least 1 image, got none")
    for index, image in enumerate(images):
        if image.dtype != np.float32 or image.shape != shape:
            raise ExportError(f"{role} image {index}: wanted float32 {shape}, got {image.dtype} {image.shape}")
        if not np.abs(image).max() <= 1.0:  # true for NaN as well
            raise ExportError(f"{role} image {index}: wanted values in [-1, 1], got {image.min()} to {image.max()}")


def _trained(training: QuantisationAwareTraining, images: Sequence[Pixels], path: Path) -> Path:
    trained = train_quantisation_aware(training.network, images, steps=training.steps, seed=training.seed)
    return export_onnx(trained, path, size=images[0].shape[2:])


def _converted(
    onnx_path: Path,
    target: Target,
    calibration: Sequence[Pixels],
    bound: AccuracyBound | None,
    shape: Shape,
    input_format: InputFormat,
) -> tuple[ov.Model, QuantisationDecision | None]:
    model, decision = read_onnx(onnx_path), None
    variant = VARIANTS[target]
    if model.input().element_type != ov.Type.f32:
        raise GraphError(f"cannot convert {onnx_path}: it reads uint8 images, wanted an input of float32 pixels")
    if variant.is_static:
        _fix_shape(model, onnx_path, shape)
    elif not all(axis.is_dynamic for axis in pixel_shape(model.input())[2:]):
        raise ExportError(f"{target} reads every size, but {onnx_path} is of {model.input().partial_shape} only")
    if variant.opset_ceiling is None:
        merge_norms(model)
        heads_at_half_size(model)
        resize_by_scales(model)
    if variant.precision == "int8":
        require_pixels(calibration, tuple(model.input().shape), "int8 calibration")
        norms_by_sums(model)
        shrunk_images_as_convolutions(model)
        narrow_convolutions_as_products(model)
        quantised = quantise(model, calibration)
        model, decision = (quantised, None) if bound is None else restore_accuracy(model, quantised, bound)
        if decision is not None and not decision.is_within_bound:
            raise AccuracyError(f"{target} of {onnx_path.name}: {decision.verdict}", decision)
    if input_format == "uint8-nhwc":
        _read_images(model)
    if variant.opset_ceiling is not None:
        lower(model, opset_ceiling=variant.opset_ceiling, has_safe_norm=variant.has_safe_norm)
    _name_by_position(model)
    return model, decision


def _fix_shape(model: ov.Model, onnx_path: Path, shape: Shape) -> None:
    """One image of height and width `shape`, where the file leaves that open."""
    batch, channels, *sides = given = model.input().partial_shape
    if not batch.compatible(ov.Dimension(1)):
        raise GraphError(f"cannot convert {onnx_path}: it reads {batch} images at once, wanted 1 or an open batch")
    if channels.is_dynamic:
        raise GraphError(f"cannot convert {onnx_path}: it reads images of any number of channels, wanted a fixed one")
    if given.is_static:
        return
    wanted = [side if axis.is_dynamic else axis.get_length() for axis, side in zip(sides, shape, strict=True)]
    try:
        model.reshape([1, channels, *wanted])
    except RuntimeError as error:
        raise GraphError(f"{onnx_path} cannot read {shape[0]}×{shape[1]} pixels: {runtime_words(error)}") from error
    fold_constants(model)


def _read_images(model: ov.Model) -> None:
    """The model's input becomes the image: uint8 (1, H, W, 3), RGB, normalised inside."""
    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().model().set_layout(ov.Layout("NCHW"))
    steps.input().preprocess().convert_element_type(ov.Type.f32).mean(127.5).scale(127.5)
    steps.build()


def _name_by_position(model: ov.Model) -> None:
    """Renames what OpenVINO named by a counter of the process, so that equal models give equal files."""
    for position, operation in enumerate(model.get_ordered_ops()):
        if re.fullmatch(r"[A-Za-z]+_\d+", operation.get_friendly_name()):
            operation.set_friendly_name(f"{operation.get_type_name()}_{position}")


def _write_ir(model: ov.Model, files: IrFiles, variant: Variant) -> IrFiles:
    is_half = variant.precision == "fp16"
    try:
        if variant.ir_version == 10:
            passes = Manager()
            if is_half:
                passes.register_pass(ConvertFP32ToFP16())
            passes.register_pass(Serialize(str(files.xml), str(files.bin), "IR_V10"))
            passes.run_passes(model)
        else:
            ov.save_model(model, files.xml, compress_to_fp16=is_half)
    except RuntimeError as error:  # a full disk, for one
        raise ExportError(f"OpenVINO cannot write {files.xml.name}: {error}") from error
    return files


def _moved(files: IrFiles, folder: Path) -> IrFiles:
    moved = IrFiles(folder / files.xml.name, folder / files.bin.name, files.decision)
    moved.xml.unlink(missing_ok=True)
    files.bin.replace(moved.bin)
    files.xml.replace(moved.xml)  # last: whoever sees it finds its .bin
    return moved
