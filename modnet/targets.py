"""The targets: what each class of devices reads. A new target is its name and its row here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Precision = Literal["fp32", "fp16", "int8"]
InputFormat = Literal["float-nchw", "uint8-nhwc"]
"""`float-nchw`: float32 (1, 3, H, W) in [-1, 1], RGB. `uint8-nhwc`: the image itself, uint8 (1, H, W, 3), RGB."""

STRIDE = 32  # height and width of what a network reads are multiples of it: backbones halve them five times
LONGEST_SIDE = 4096  # pixels: a network that reads more is a mistake
Shape = tuple[int, int]  # height and width of what a network reads, in pixels


def is_readable(shape: Shape) -> bool:
    """Whether a network may read images of this height and width."""
    return all(STRIDE <= side <= LONGEST_SIDE and side % STRIDE == 0 for side in shape)


OPEN_SIDE = 512  # pixels: what an open height and width become where one network is measured
Size = int | Shape  # a shape, or the side of a square

Target = Literal["cpu-fp32", "cpu-fp16", "cpu-int8", "cpu-fp32-dynamic", "ncs2-fp16"]

CURRENT_RUNTIME = "2026.4.1"
LEGACY_RUNTIMES = ("2021.4.2", "2022.3.2")


@dataclass(frozen=True)
class Variant:
    """What the IR of one target is."""

    precision: Precision  # of the stored weights, for int8 of the computation as well
    ir_version: Literal[10, 11] = 11  # of the file format
    # newest opset of which operations may come; None: whatever the current runtime reads
    opset_ceiling: int | None = None
    is_static: bool = True  # the input size is fixed; otherwise batch, height and width are open
    runtimes: tuple[str, ...] = (CURRENT_RUNTIME,)  # OpenVINO versions that must read it and compute the same
    device: Literal["CPU", "MYRIAD"] = "CPU"  # OpenVINO's name of what compiles it on the oldest of `runtimes`
    input_format: InputFormat = "float-nchw"  # what it reads unless an export says otherwise
    has_safe_norm: bool = False  # instance norm in a form that stays in range where sums are kept in float16

    @property
    def legacy_runtimes(self) -> tuple[str, ...]:
        """Those of `runtimes` that are not the one of this process."""
        return tuple(version for version in self.runtimes if version in LEGACY_RUNTIMES)


VARIANTS: Mapping[Target, Variant] = {
    "cpu-fp32": Variant("fp32"),
    "cpu-fp16": Variant("fp16"),
    "cpu-int8": Variant("int8"),
    "cpu-fp32-dynamic": Variant("fp32", is_static=False),
    "ncs2-fp16": Variant(
        "fp16", 10, 7, runtimes=(*LEGACY_RUNTIMES, CURRENT_RUNTIME), device="MYRIAD", has_safe_norm=True
    ),
}
