r"""The networks of the front that the project ships: IRs and a card for each, and the table in the weights' README.

python -m benchmarks.making.front --dataset portraits.zip balanced=small.safetensors@480x320

A network is NAME=CHECKPOINT@HEIGHTxWIDTH. One of another file becomes `<name>.safetensors` in the folder of shipped
weights, convolutions rounded to float16; `shipped` and `shipped-pruned` stay the files that they are. The IRs are
stored in that shape and can be turned (`resize_by_scales`), so one for each precision is enough. INT8 is calibrated on
fit and held to its bound on tune, as in a night.

The IRs themselves are scored, against the base in float32 at 512×512: photographs of tune, their upper parts in
landscape, and rendered portraits in both directions. `--val` scores val as well, which is looked at once. Networks that
are not named stay as they are.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np

from benchmarks.inputs import extracted
from modnet.checkpoint import to_bytes
from modnet.data.download import sha256_of_file
from modnet.data.images import Image
from modnet.errors import CheckpointError, ConfigError
from modnet.evaluation.intervals import mean_interval
from modnet.export.accuracy_control import AccuracyBound
from modnet.export.onnx_to_openvino import convert_ir
from modnet.export.openvino_graph import OpenvinoGraph
from modnet.export.torch_to_onnx import export_onnx
from modnet.files import write_atomically
from modnet.graph_function import GraphFunction
from modnet.progress import progress_over
from modnet.pruning.complexity import complexity
from modnet.records import Scores
from modnet.shipped import FRONT, FrontName
from modnet.targets import Shape, Target
from modnet.workloads.matting.checkpoint import load, read_checkpoint
from modnet.workloads.matting.data.images import Alpha, read_pair
from modnet.workloads.matting.data.preprocessing import prepare
from modnet.workloads.matting.data.protocols import letterbox
from modnet.workloads.matting.data.synthetic import render_portrait
from modnet.workloads.matting.evaluate import score_image
from modnet.workloads.matting.names import FEW_METRICS
from modnet.workloads.matting.portraits import Portraits
from modnet.workloads.matting.predict.openvino_predictors import OnnxPredictor
from modnet.workloads.matting.predict.predictors import Predictor
from modnet.workloads.matting.weights import FOLDER, NAMED, SHIPPED_BASE
from tasks.cli.values import size
from tasks.tables import markdown_table

TARGETS: tuple[Target, ...] = ("cpu-int8", "cpu-fp16")
REFERENCE: Shape = (512, 512)
"""What the base reads whose errors the others are compared with, as in `benchmarks.peers`."""
CALIBRATION_IMAGES = 32
RENDERED = 24
MAX_BYTES = 14_000_000
"""Of a checkpoint, and of an IR."""

Pictures = Callable[[], Iterator[tuple[Image, Alpha]]]


@dataclass(frozen=True)
class Row:
    """One network as it was named."""

    name: FrontName
    checkpoint: str
    shape: Shape

    @property
    def turned(self) -> Shape:
        return self.shape[1], self.shape[0]


@dataclass(frozen=True)
class Scored:
    """Pictures that all networks are scored on."""

    data: str
    split: str
    is_landscape: bool
    pictures: Pictures


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes IRs and cards of the networks that are named, then the README's table of all."""
    parser = argparse.ArgumentParser(description="Makes the IRs and cards of the front that the project ships.")
    parser.add_argument("networks", nargs="*", type=row, metavar="NAME=CHECKPOINT@HEIGHTxWIDTH")
    parser.add_argument("--dataset", type=Path, required=True, help="zip of photographs")
    parser.add_argument("--calibrate", choices=("photographs", "rendered"), default="photographs", help="INT8 by these")
    parser.add_argument("--val", action="store_true", help="scores val as well, which is looked at once")
    parser.add_argument("--cache", type=Path, default=Path(".modnet/cache/datasets"), help="where zips are extracted")
    options = parser.parse_args(arguments)
    data = Portraits(*extracted(options.dataset, options.cache))
    scored = [*_photographs(data, "tune"), *(_photographs(data, "val") if options.val else ()), *_rendered()]

    with TemporaryDirectory() as temporary:
        base = OpenvinoGraph(export_onnx(load(SHIPPED_BASE), Path(temporary, "base.onnx"), size=REFERENCE))

    @cache
    def base_errors(index: int) -> Scores:
        return _errors(base, REFERENCE, scored[index])

    for one in options.networks:
        checkpoint = _shipped_checkpoint(one)
        _write_irs(one, checkpoint, data, options.calibrate)
        card = _card(one, checkpoint) | {
            "calibration": {
                "data": options.calibrate,
                "photographs_sha256": sha256_of_file(options.dataset),
            },
            "scores": [
                _score(one, target, scored[index], base_errors(index))
                for target in TARGETS
                for index in range(len(scored))
            ],
        }
        write_atomically(FOLDER / f"{one.name}.json", json.dumps(card, indent=1).encode() + b"\n")
    table = write_table(FOLDER)
    print(table)
    return 0


def row(text: str) -> Row:
    """`balanced=small.safetensors@480x320`.

    Raises:
        ArgumentTypeError: something else.
    """
    found = re.fullmatch(rf"({'|'.join(FRONT)})=(.+)@(\d+x\d+)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted one of {', '.join(FRONT)} as NAME=CHECKPOINT@480x320")
    shape = size(found[3])
    try:
        letterbox(shape)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return Row(cast(FrontName, found[1]), found[2], shape)


def table_of(folder: Path) -> str:
    """What a reader of the README wants of all cards."""
    rows = []
    for name in FRONT:
        card = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for target, ir in card["irs"].items():
            errors = [one for one in card["scores"] if one["target"] == target]
            rows.append(
                {
                    "`--model`": name,
                    "target": f"`{target}`",
                    "height × width": "{}×{}".format(*card["shape"]),
                    "parameters M": f"{card['parameters'] / 1e6:.3f}",
                    "GMAC": f"{card['macs'] / 1e9:.2f}",
                    "MB": f"{sum(one['bytes'] for one in ir.values()) / 1e6:.2f}",
                    **{
                        f"MSE × base, {one['images']} {one['data']}, {one['split']}": f"{one['mse_times_base']:.2f}"
                        for one in errors
                    },
                }
            )
    return markdown_table(rows)


def write_table(folder: Path) -> str:
    """Draws the table of all cards into README between its marks; returns it."""
    table = table_of(folder)
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8")
    marked = re.compile(r"(?<=<!-- front -->\n).*?(?=<!-- end of front -->)", re.DOTALL)
    write_atomically(readme, marked.sub(lambda _: f"\n{table}\n\n", text).encode())
    return table


def _shipped_checkpoint(one: Row) -> Path:
    """The file in the folder of shipped weights; written there where it is none of them yet.

    Raises:
        CheckpointError: the network is too large to be shipped.
    """
    given = NAMED.get(one.checkpoint, Path(one.checkpoint))
    if given.resolve().parent == FOLDER.resolve():
        return given
    trained = read_checkpoint(given)
    content = to_bytes(trained.network, trained.provenance, half=True)
    if len(content) > MAX_BYTES:
        raise CheckpointError(f"{given} has {len(content)} bytes in float16, at most {MAX_BYTES} are shipped")
    shipped = FOLDER / f"{one.name}.safetensors"
    write_atomically(shipped, content)
    return shipped


def _write_irs(one: Row, checkpoint: Path, data: Portraits, calibrate: str) -> None:
    """`<name>-<target>.xml` and `.bin`.

    Raises:
        AccuracyError: INT8 cannot be held to its bound.
        CheckpointError: an IR is too large to be shipped.
    """
    if calibrate == "photographs":
        calibration = [
            data.pixels("fit", position, one.shape)
            for position in range(min(CALIBRATION_IMAGES, len(data.names("fit"))))
        ]
    else:
        calibration = [
            prepare(render_portrait(np.random.default_rng([1, number]), one.shape)[0], letterbox(one.shape)).pixels
            for number in range(CALIBRATION_IMAGES)
        ]
    with TemporaryDirectory() as temporary:
        onnx = export_onnx(load(checkpoint), Path(temporary, f"{one.name}.onnx"), size=one.shape)
        float_error = data.scores(OnnxPredictor(onnx, letterbox(one.shape)).matte, "tune", (one.shape,)).error
        bound = AccuracyBound(
            len(data.names("tune")),
            lambda graph, position: data.error(graph, "tune", position, (one.shape,)),
            float_error,
        )
        made = convert_ir(
            onnx, Path(temporary, "irs"), targets=TARGETS, calibration=calibration, bound=bound, size=one.shape
        )
        for files in made.values():
            if files.decision is not None:
                print(f"{one.name}: {files.decision.verdict}")
            size_bytes = sum(path.stat().st_size for path in (files.xml, files.bin))
            if size_bytes > MAX_BYTES:
                raise CheckpointError(f"{files.xml.name} has {size_bytes} bytes, at most {MAX_BYTES} are shipped")
            for path in (files.bin, files.xml):  # the .xml last: whoever sees it finds its .bin
                write_atomically(FOLDER / path.name, path.read_bytes())


def _card(one: Row, checkpoint: Path) -> dict[str, Any]:
    cost, pixels = complexity(load(checkpoint)), one.shape[0] * one.shape[1]
    return {
        "name": one.name,
        "checkpoint": {"file": checkpoint.name, **_file(checkpoint)},
        "shape": list(one.shape),
        "protocols": sorted({letterbox(one.shape), letterbox(one.turned)}),
        "parameters": cost.parameters,
        "macs": round(cost.macs * pixels / cost.size**2),  # of that shape
        "irs": {
            target: {end: _file(FOLDER / f"{one.name}-{target}.{end}") for end in ("xml", "bin")} for target in TARGETS
        },
        "made": read_checkpoint(checkpoint).provenance,
    }


def _file(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def _photographs(data: Portraits, split: Any) -> Iterator[Scored]:
    """Those of a split, and of each the upper part that is half as wide again as high."""

    def whole() -> Iterator[tuple[Image, Alpha]]:
        for position in range(len(data.names(split))):
            yield read_pair(*data.files(split, position))

    def upper() -> Iterator[tuple[Image, Alpha]]:
        for image, alpha in whole():
            height = min(image.shape[0], round(image.shape[1] / 1.5))
            yield image[:height], alpha[:height]

    yield Scored("photographs", split, False, whole)
    yield Scored("upper parts in landscape", split, True, upper)


def _rendered() -> Iterator[Scored]:
    """Portraits that no network has seen: drawn by numbers of their own."""
    for is_landscape, shape in ((False, (512, 384)), (True, (384, 512))):

        def drawn(shape: Shape = shape) -> Iterator[tuple[Image, Alpha]]:
            for number in range(RENDERED):
                yield render_portrait(np.random.default_rng([2, number]), shape)

        yield Scored("rendered in landscape" if is_landscape else "rendered", "val", is_landscape, drawn)


def _directed(shape: Shape, scored: Scored) -> Shape:
    short, long = sorted(shape)
    return (short, long) if scored.is_landscape else (long, short)


def _errors(graph: GraphFunction, shape: Shape, scored: Scored) -> Scores:
    predictor, protocol = Predictor(graph, letterbox(shape)), letterbox(shape)
    each = [
        score_image(f"{number:04d}", predictor(image), alpha, FEW_METRICS)
        for number, (image, alpha) in enumerate(progress_over(scored.pictures(), scored.data, "image"))
    ]
    means = {name: float(np.mean([one.errors[name] for one in each])) for name in FEW_METRICS}
    return Scores(split=scored.split, protocol=protocol, images=len(each), errors=means, per_image=tuple(each))


def _score(one: Row, target: Target, scored: Scored, base: Scores) -> dict[str, Any]:
    shape = _directed(one.shape, scored)
    found = _errors(OpenvinoGraph(FOLDER / f"{one.name}-{target}.xml", shape=shape), shape, scored)
    return {
        "target": target,
        "data": scored.data,
        "split": scored.split,
        "protocol": found.protocol,
        "images": found.images,
        "errors": {name: asdict(mean_interval(found, name)) for name in FEW_METRICS},
        "base_mse": base.errors["mse"],
        "mse_times_base": found.errors["mse"] / base.errors["mse"],
    }


if __name__ == "__main__":
    raise SystemExit(main())
