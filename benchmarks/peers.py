"""How far other networks that a user could take are from ours, in error and in time.

python -m benchmarks.peers --dataset portraits.zip --base modnet.ckpt --peers FOLDER [--table table.json] \
  [--ours NAME=CHECKPOINT[@HxW] …] [--shapes 512x512 480x320 …] [--split tune] [--samples peers.json]
python -m benchmarks.peers --read peers.json --plot peers.png    # the tables and the plot of an earlier run

Every network gets each image of the split as its authors prepare it, and its matte is brought back to the size of the
image, where it is scored. Ours read the letterbox that stands behind the checkpoint, or each of `--shapes`. Latency is
of one image, all networks in turns within one run, by the code that devices measure with, without preparing images.
What is not in 8 bits is computed in float32, also where the processor has bfloat16. A peer runs as published, in
float; of ours there are FP32 and INT8, the latter calibrated on some of *fit*. FP32 of the unpruned network at 512×512
is the reference, and with `--against` another one for errors.

`--table` adds peers: a JSON list of objects with the fields of `Peer`. The file may be ONNX, an IR or TensorFlow's
graph: what OpenVINO reads.

Flicker is the mean absolute change of a mask between two takes of a picture that stands still: the images with sensor
noise of their own. It is what a video shows beside its errors.

Errors compare networks that were taught on other images than these with ours, which were taught on images like these.
So the distance in error flatters ours. The distance in time is real.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import cv2
import numpy as np
import openvino as ov
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, TypeAdapter

from benchmarks.inputs import Json, extracted, input_parser
from infra.device.documents.latency_summary import percentile
from infra.device.measuring.latency import LatencySamples, measure_interleaved
from infra.device.measuring.machine import machine_conditions
from infra.device.measuring.runtime import load_ir, runtime_text
from modnet.configs.shape import shown
from modnet.data.images import Image, read_image, resize
from modnet.evaluation.intervals import mean_interval, ratio_interval
from modnet.export.onnx_to_openvino import convert_ir
from modnet.export.runtime import core
from modnet.export.torch_to_onnx import export_onnx
from modnet.files import write_atomically
from modnet.records import Scores
from modnet.report.pictures import png
from modnet.targets import Shape, Target
from modnet.workloads.matting.checkpoint import load
from modnet.workloads.matting.data.indexing import DatasetIndex
from modnet.workloads.matting.evaluate import Predictor, evaluate
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.portraits import Portraits
from modnet.workloads.matting.predict.openvino_predictors import IrPredictor
from modnet.workloads.matting.weights import checkpoint_path
from tasks.cli.values import size
from tasks.tables import markdown_table

REFERENCE = "unpruned cpu-fp32 512x512"
CALIBRATION_IMAGES = 24
FLICKER_IMAGES, NOISE = 16, 2.0  # standard deviation of the noise, in steps of 8 bits
TARGETS: tuple[Target, ...] = ("cpu-fp32", "cpu-int8")


class Peer(BaseModel):
    """How a published network reads an image and gives a mask.

    Attributes:
        name: in tables.
        file: below `--peers`.
        shape: height and width that it reads; the image is resized to it, whatever its aspect.
        is_nhwc: channels last; otherwise first.
        is_bgr: blue first; otherwise red.
        mean: of each channel, in values from 0 to 255.
        scale: what (value - mean) is divided by, for each channel.
        channel: of the output that is the person.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    file: str
    shape: Shape
    is_nhwc: bool = False
    is_bgr: bool = False
    mean: tuple[float, float, float] = (0, 0, 0)
    scale: tuple[float, float, float] = (255, 255, 255)
    channel: int = 0


PEERS = (
    Peer(name="MediaPipe Selfie", file="selfie.pb", shape=(256, 256), is_nhwc=True),
    Peer(name="Meet", file="meet.pb", shape=(144, 256), is_nhwc=True, channel=1),
    Peer(name="Prisma", file="prisma_nchw.onnx", shape=(256, 256)),
    Peer(
        name="SINet",
        file="SINet_Softmax.onnx",
        shape=(320, 320),
        is_bgr=True,
        mean=(102.890434, 111.25247, 126.91212),
        scale=(62.93292 * 255, 62.82138 * 255, 66.355705 * 255),
        channel=1,
    ),
)


class PeerPredictor:
    """Image, uint8 (H, W, 3) RGB → the person, float32 (H, W) in [0, 1]."""

    def __init__(self, peer: Peer, model: ov.Model) -> None:
        self._peer = peer
        self._compiled = core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        peer = self._peer
        resized = resize(image, *peer.shape)
        pixels = (resized[..., ::-1] if peer.is_bgr else resized).astype(np.float32)
        pixels = np.divide(pixels - np.array(peer.mean), np.array(peer.scale), dtype=np.float32)
        given = pixels if peer.is_nhwc else pixels.transpose(2, 0, 1)
        (answer,) = self._compiled(np.ascontiguousarray(given[None], dtype=np.float32))[0]
        mask = answer[..., peer.channel] if peer.is_nhwc else answer[peer.channel]
        whole: NDArray[np.float32] = cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_LINEAR).astype(
            np.float32
        )
        return whole.clip(0, 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, unless an earlier run is read; prints the table and draws the plot."""
    parser = input_parser("Other networks beside ours, in error and in time.", required=False)
    parser.prog = "python -m benchmarks.peers"
    parser.add_argument("--peers", type=Path, help="folder of the peers' files")
    parser.add_argument("--table", type=Path, help="JSON list of more peers")
    parser.add_argument("--ours", nargs="*", default=["shipped-pruned=shipped-pruned"], metavar="NAME=CHECKPOINT[@HxW]")
    parser.add_argument("--shapes", nargs="+", type=size, default=[(512, 512), (480, 320)], metavar="HxW")
    parser.add_argument("--split", choices=("tune", "val"), default="tune", help="val is looked at once, at the end")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=31, help="samples of each network")
    parser.add_argument("--samples", type=Path, default=Path("peers.json"), help="the JSON to write")
    parser.add_argument("--read", type=Path, help="the JSON of an earlier run: nothing is measured")
    parser.add_argument("--against", default=REFERENCE, metavar="NAME", help="whose errors are 1 in the table")
    parser.add_argument("--plot", type=Path, help="PNG to write")
    options = parser.parse_args(arguments)
    if options.read is None:
        if options.dataset is None or options.base is None or options.peers is None:
            parser.error("--dataset, --base and --peers are needed to measure, or --read to look at an earlier run")
        more = [] if options.table is None else TypeAdapter(list[Peer]).validate_json(options.table.read_text())
        if (512, 512) not in options.shapes:
            parser.error("--shapes: wanted 512x512 among them, which the others are compared with")
        ours = {"unpruned": (str(options.base), options.shapes)}
        for name, _, word in (one.partition("=") for one in options.ours):
            checkpoint, _, shape = word.partition("@")
            ours[name] = checkpoint, [size(shape)] if shape else options.shapes
        found = measured(
            extracted(options.dataset, options.cache),
            ours,
            {peer: options.peers / peer.file for peer in (*PEERS, *more)},
            options.split,
            threads=options.threads,
            rounds=options.rounds,
        )
        write_atomically(options.samples, json.dumps(found, indent=1).encode())
    else:
        found = json.loads(options.read.read_text())
    machine = found["conditions"].get("cpu_model_text", "an unknown CPU")
    print(f"{found['runtime']}, {found['threads']} threads, {machine}; errors on {found['split']}")
    if options.against not in found["networks"]:
        parser.error(f"--against {options.against!r}: wanted one of {', '.join(found['networks'])}")
    print(markdown_table(rows(found, options.against)))
    if options.plot is not None:
        write_atomically(options.plot, plot(found))
    return 0


def measured(
    images: tuple[Path, DatasetIndex],
    ours: Mapping[str, tuple[str, Sequence[Shape]]],
    peers: Mapping[Peer, Path],
    split: Literal["tune", "val"],
    *,
    threads: int,
    rounds: int,
) -> Json:
    """Scores and latency samples of every network, by name."""
    (folder, index), published = images, {peer.name for peer in peers}
    with TemporaryDirectory() as temporary:
        irs, scores, flickers = {}, {}, {}
        still = [read_image(folder / pair.image) for pair in index.split(split)[:FLICKER_IMAGES]]
        for name, (checkpoint, shapes) in ours.items():
            for shape in shapes:
                made = _irs(load(checkpoint_path(checkpoint)), Portraits(folder, index), shape, Path(temporary) / name)
                for target, xml in made.items():
                    predictor = IrPredictor(xml)
                    irs[_named(name, target, shape)] = xml
                    scores[_named(name, target, shape)] = evaluate(predictor, folder, index, split, predictor.protocol)
                    flickers[_named(name, target, shape)] = flicker(predictor, still)
        for peer, file in peers.items():
            model = core().read_model(file)
            published_predictor = PeerPredictor(peer, model)
            scores[peer.name] = evaluate(published_predictor, folder, index, split, "as published")
            flickers[peer.name] = flicker(published_predictor, still)
            model.reshape([1, *list(model.input().partial_shape)[1:]])
            irs[peer.name] = Path(temporary) / f"{file.stem}.xml"
            ov.save_model(model, irs[peer.name], compress_to_fp16=False)
        samples = latencies(irs, threads, rounds)
    return {
        "runtime": runtime_text(),
        "threads": threads,
        "conditions": machine_conditions(),
        "split": split,
        "networks": {
            name: {
                "is_peer": name in published,
                "samples_ms": samples[name].samples_ms,
                "flicker": flickers[name],
                "scores": one.model_dump(mode="json"),
            }
            for name, one in scores.items()
        },
    }


def latencies(irs: Mapping[str, Path], threads: int, rounds: int) -> dict[str, LatencySamples]:
    """All in turns, float parts in float32 where the processor would take bfloat16."""
    runs = {name: load_ir(xml, threads=threads, precision="f32").run_once for name, xml in irs.items()}
    return measure_interleaved(runs, warm_up=3, rounds=rounds)


def flicker(predictor: Predictor, images: Sequence[Image]) -> float:
    """Mean absolute change of the mask between two takes of each image, which differ by noise alone."""
    rng, changes = np.random.default_rng(0), []
    for image in images:
        takes = (np.clip(np.rint(rng.normal(image, NOISE)), 0, 255).astype(np.uint8) for _ in range(2))
        before, after = (predictor(take) for take in takes)
        changes.append(float(np.abs(after - before).mean()))
    return float(np.mean(changes))


def rows(found: Json, against: str = REFERENCE) -> list[dict[str, str]]:
    """One row per network, the fastest first; errors beside those of the network `against`."""
    scores = {name: _scores(one) for name, one in found["networks"].items()}
    latencies = {name: percentile(one["samples_ms"], 0.5) for name, one in found["networks"].items()}
    base, listed = scores[against], []
    for name in sorted(scores, key=lambda name: latencies[name]):
        mean, ratio = mean_interval(scores[name], "mse"), ratio_interval(scores[name], base, "mse")
        listed.append(
            {
                "network": name,
                "ms": f"{latencies[name]:.2f}",
                "times as fast": f"{latencies[REFERENCE] / latencies[name]:.1f}",
                "MSE (95 %)": f"{mean.mean:.5f} ({mean.low:.5f} to {mean.high:.5f})",
                f"× {against} (95 %)": f"{ratio.mean:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
                "MSE, unknown band": f"{scores[name].errors['unknown_mse']:.4f}",
                "MAD": f"{scores[name].errors['mad']:.4f}",
                "flicker": f"{found['networks'][name]['flicker']:.5f}",
            }
        )
    return listed


def plot(found: Json) -> bytes:
    """Error against latency, both logarithmic; peers apart from ours. PNG.

    Names stand at peers, at the reference, and at what nothing beats in both, which a line joins.
    """
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    places = {name: (percentile(one["samples_ms"], 0.5), _scores(one).error) for name, one in found["networks"].items()}
    best = [
        name
        for name, (own_ms, own_error) in places.items()
        if not any(ms < own_ms and error < own_error for ms, error in places.values())
    ]
    for name, place in places.items():
        is_peer = found["networks"][name]["is_peer"]
        axes.scatter(*place, color="tab:red" if is_peer else "tab:blue", alpha=1.0 if name in best else 0.4)
        if is_peer or name in (*best, REFERENCE):
            axes.annotate(name, place, xytext=(5, 4), textcoords="offset points", fontsize=8)
    axes.plot(*zip(*sorted(places[name] for name in best), strict=True), color="tab:grey", linewidth=1, zorder=0)
    axes.set(xscale="log", yscale="log", xlabel="median latency [ms]", ylabel=f"MSE on {found['split']}")
    axes.grid(alpha=0.3, which="both")
    axes.margins(x=0.15)
    return png(figure)


def _irs(network: MODNet, data: Portraits, shape: Shape, folder: Path) -> dict[Target, Path]:
    """FP32 and INT8 at this height and width."""
    count = min(CALIBRATION_IMAGES, len(data.names("fit")))
    calibration = [data.pixels("fit", position, shape) for position in range(count)]
    onnx = export_onnx(network, folder / f"{shown(shape)}.onnx", size=shape)
    files = convert_ir(onnx, folder, targets=TARGETS, calibration=calibration, size=shape)
    return {target: one.xml for target, one in files.items()}


def _scores(one: Json) -> Scores:
    """Scores that are compared whatever their protocol: each network is fed as it is used."""
    return Scores.model_validate(one["scores"] | {"protocol": "each network's own"})


def _named(name: str, target: Target, shape: Shape) -> str:
    return f"{name} {target} {shown(shape)}"


if __name__ == "__main__":
    raise SystemExit(main())
