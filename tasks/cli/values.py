"""What typed words mean: amounts, lists, digests, devices, places to write to. Nothing heavy is imported here."""

import argparse
import errno
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from modnet.errors import ConfigError
from modnet.targets import Shape
from modnet.workloads.matting.data.protocols import Protocol, letterbox_shape

_SCALES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


@dataclass(frozen=True)
class Whole:
    """Reads a whole number from `low` to `high`, both included; help and errors name them."""

    low: int = 0
    high: int | None = None

    @property
    def limits(self) -> str:
        """As help says them."""
        return f"from {self.low}" if self.high is None else f"{self.low} to {self.high}"

    def __call__(self, text: str) -> int:
        if text.isdecimal() and self.low <= int(text) and (self.high is None or int(text) <= self.high):
            return int(text)
        up = "up" if self.high is None else f"to {self.high}"
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted a whole number from {self.low} {up}")


SEED = Whole(high=2**31 - 1)  # what the random generators take


def share(text: str) -> float:
    """`0.2`; ArgumentTypeError where it is not above 0 and at most 1."""
    with suppress(ValueError):
        if 0 < (value := float(text)) <= 1:
            return value
    raise argparse.ArgumentTypeError(f"got {text!r}, wanted a number above 0, at most 1")


def amount(text: str) -> int:
    """`3.7G` as 3700000000; ArgumentTypeError without a number, or with something else behind it than K, M or G."""
    found = re.fullmatch(r"(\d{1,18}(?:\.\d+)?)([KMG]?)", text.strip())  # of more digits floats make infinity
    if found is None:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted a number with or without K, M or G, as 3.7G or 1340000")
    return round(float(found[1]) * _SCALES[found[2]])


def protocol(text: str) -> Protocol:
    """`device-480x320`; ArgumentTypeError where there is no such protocol."""
    try:
        letterbox_shape(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def size(text: str) -> Shape:
    """`480x320` as height and width, `512` as those of a square; else ArgumentTypeError."""
    found = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"got {text!r}, wanted the side of a square as 512, or height x width as 480x320"
        )
    return int(found[1]), int(found[2] or found[1])


def tensor_shape(text: str) -> tuple[int, ...]:
    """`1x3x224x224`; ArgumentTypeError where a number is missing, or 0."""
    sides = text.split("x")
    if not all(re.fullmatch(r"[1-9]\d{0,6}", side) for side in sides):
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted the shape of an input, as 1x3x224x224")
    return tuple(map(int, sides))


def texts(text: str) -> list[str]:
    """`a,b` as its elements."""
    return [part.strip() for part in text.split(",")]


def numbers(text: str) -> list[float]:
    """`0.1,0.3` as numbers."""
    return [float(part) for part in text.split(",")]


def batch_sizes(text: str) -> list[int]:
    """`1,2,4` as numbers, each from 1."""
    return [Whole(1)(part) for part in texts(text)]


def digest(text: str) -> str:
    """A SHA-256 in lower case, as tools print it; ArgumentTypeError where it is not 64 hexadecimal digits."""
    if not re.fullmatch("[0-9a-f]{64}", text.lower()):
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted the 64 hexadecimal digits of a SHA-256")
    return text.lower()


def folder_to_write(text: str) -> Path:
    """A path to make a folder at, refused before a verb has worked for hours.

    Raises:
        NotADirectoryError: a file is in the way.
    """
    path = Path(text)
    if taken := next((one for one in (path, *path.parents) if one.exists() and not one.is_dir()), None):
        raise NotADirectoryError(errno.ENOTDIR, "it is a file, wanted a folder to write into", str(taken))
    return path


def file_to_write(text: str) -> Path:
    """A path to make a file at, refused before a verb has worked for hours.

    Raises:
        IsADirectoryError: there is a folder.
        NotADirectoryError: a file is in the way of its folder.
    """
    path = Path(text)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder, wanted a file to write", text)
    folder_to_write(str(path.parent))
    return path


def device(text: str) -> str:
    """`cpu`, or `cuda` where there is one; else ArgumentTypeError."""
    if text == "cpu" or (text.partition(":")[0] == "cuda" and _has_cuda()):
        return text
    raise argparse.ArgumentTypeError(f"got {text!r}, wanted cpu, or cuda where there is one")


def torch_device(text: str) -> str:
    """See `device`, for what is known to be torch's only after all flags are read.

    Raises:
        ConfigError: anything else; OpenVINO's devices are for ONNX files and IRs.
    """
    try:
        return device(text)
    except argparse.ArgumentTypeError as error:
        raise ConfigError(f"--device: {error}; OpenVINO's devices go with --onnx and --ir") from error


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()
