"""Golden images: what a device gives to a network before it measures it, and what the float network says of them."""

import copy
import io
import math
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from modnet.graph_function import GraphFunction, Pixels, image_of
from modnet.network import PrunableNetwork
from modnet.targets import InputFormat, Variant

MAX_BYTES = (64 << 20) - 4096  # of both arrays: devices unpack 64 MiB, headers included
AT_LEAST = 2.0  # times its own difference
INT8_FACTOR = 3.0  # a CPU without VNNI rounds the sums of INT8 elsewhere: 1.0 to 1.3 times as far off
LEAST_IN_HALF = 5e-3  # nobody had a device that computes in half, whose sums may lose more than those of bfloat16
STEPS = 1 << 14  # of outputs between whole numbers: the mean error is 1.5e-5, and a file shrinks by two fifths


class GoldenImages(NamedTuple):
    """Network inputs (N, C, H, W), float32 in [-1, 1], and the float network's outputs (N, …), float32."""

    pixels: Pixels
    outputs: NDArray[np.float32]

    @property
    def scale(self) -> float:
        """The largest magnitude of the outputs, at least 1: what half precision loses grows with it."""
        return max(1.0, float(np.abs(self.outputs).max()))


def golden_images(pixels: Pixels, reference: GraphFunction) -> GoldenImages:
    """What the float network says of network inputs (N, C, H, W), as many of the first as a device unpacks."""
    outputs = np.concatenate([reference(one[None]) for one in pixels])
    count = MAX_BYTES // (pixels[0].nbytes + outputs[0].nbytes)
    rounded = np.rint(outputs[:count] * STEPS) / np.float32(STEPS)
    return GoldenImages(pixels[:count], rounded.astype(np.float32))


def worst_difference(golden: GoldenImages, graph: GraphFunction) -> float:
    """The largest mean absolute difference of an image's output from the float network's."""
    pairs = zip(golden.pixels, golden.outputs, strict=True)
    return max(float(np.abs(graph(one[None])[0].astype(np.float64) - wanted).mean()) for one, wanted in pairs)


def tolerance(variant: Variant, difference: float, in_bfloat16: float, scale: float = 1.0) -> float:
    """Up to which difference a target's form is right on a device.

    What computes in float32 may be off by the geometric middle between its own difference and that of bfloat16: on
    every CPU and runtime that was tried its own was the same. For others the reasons stand in
    docs/decisions/devices.md.

    Args:
        variant: of the target.
        difference: of its form, in float32 where it was made (`worst_difference`).
        in_bfloat16: of the network with everything rounded to bfloat16 (`rounded_to_bfloat16`).
        scale: how far the outputs reach (`GoldenImages.scale`).
    """
    difference = max(difference, 1 / (4 * STEPS))  # at the least what rounding the outputs gives
    if variant.device != "CPU":
        return max(LEAST_IN_HALF * scale, AT_LEAST * difference)
    if variant.precision == "int8":
        return INT8_FACTOR * difference
    return max(math.sqrt(difference * in_bfloat16), AT_LEAST * difference)


def rounded_to_bfloat16(network: PrunableNetwork) -> GraphFunction:
    """The network with weights and the output of each layer rounded to bfloat16, as CPUs that compute in it do.

    It is emulated, since most CPUs cannot: on one that can, OpenVINO's own difference was 0.9 to 3.3 times this one.
    """

    def rounded(_layer: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        return output.bfloat16().float()

    module = copy.deepcopy(network).deployed().eval()
    for weights in module.parameters():
        weights.data = weights.data.bfloat16().float()
    for layer in module.modules():
        if not list(layer.children()):
            layer.register_forward_hook(rounded)

    def graph(pixels: Pixels) -> NDArray[np.float32]:
        with torch.inference_mode():
            output: NDArray[np.float32] = module(torch.tensor(pixels)).numpy()
        return output

    return graph


def write_golden(path: Path, golden: GoldenImages, input_format: InputFormat) -> Path:
    """Writes `inputs` as the IRs read them, and `outputs`, as a NumPy archive; the same images give the same bytes."""
    inputs = image_of(golden.pixels) if input_format == "uint8-nhwc" else golden.pixels
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in {"inputs": inputs, "outputs": golden.outputs}.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
            member = zipfile.ZipInfo(f"{name}.npy")  # of 1980, whenever it is written
            member.create_system, member.external_attr = 3, 0o100644 << 16  # Unix, a plain file
            archive.writestr(member, content.getvalue(), zipfile.ZIP_DEFLATED, 9)
    return path
