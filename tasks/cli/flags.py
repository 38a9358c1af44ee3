"""What verbs share: how one is added, and flags that several have."""

from __future__ import annotations

import argparse
import errno
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import torch

from modnet.checkpoint import checkpoint_path
from modnet.configs import SHIPPED, RetrainConfig, SparsityConfig, TrainingConfig
from modnet.data.protocols import Protocol
from modnet.errors import ConfigError
from tasks.cli.exit_codes import UsageError as UsageError

Options = argparse.Namespace
Result = dict[str, Any]
"""What a verb found: printed as one JSON object, or as lines `name: value`, the value of `table` by itself."""

Flags = argparse.ArgumentParser
CHECKPOINT = (
    f"{SHIPPED} (the project's own unpruned network), or a file of this project, of the official MODNet or of the seed"
)
DATASET = "synthetic, ppm-100, a zip, a folder or a URL"
IR = "OpenVINO .xml, its .bin beside it"
FIXED = "one of fixed input size takes the protocol of that size, as device-512"


_NUMBERS: dict[str, Callable[[str], object]] = {
    "epochs": int,
    "batch_size": int,
    "image_size": int,
    "learning_rate": float,
    "weight_decay": float,
    "average_decay": float,
    "validate_every": int,
    "validation_images": int,
    "patience": int,
    "max_unreadable": int,
}
_CHOICES = ("optimiser", "schedule", "precision")
TRAINING_FLAGS = (*_NUMBERS, *_CHOICES, "freeze_backbone", "sparsity", "sparsity_schedule")
"""The fields whose flags `training` adds."""


class Verbs:
    """The verbs of a command line, each with the function that runs it."""

    def __init__(self, parser: Flags) -> None:
        self._verbs = parser.add_subparsers(required=True, metavar="VERB")

    def add(self, name: str, run: Callable[[Options], Result], *parents: Flags) -> Flags:
        """Adds a verb that says of itself what `run` says of itself, with the flags of `parents` and `--json`."""
        added = self._verbs.add_parser(name, help=run.__doc__, description=run.__doc__, parents=[_output(), *parents])
        added.set_defaults(run=run)
        return added

    def group(self, name: str, description: str) -> Verbs:
        """Adds a verb that has verbs of its own."""
        return Verbs(self._verbs.add_parser(name, help=description, description=description))


def network() -> Flags:
    """The checkpoint that a verb works on."""
    flags = _flags()
    flags.add_argument("--checkpoint", type=checkpoint_path, required=True, help=CHECKPOINT)
    flags.add_argument("--prune-info", type=Path, help="the seed's JSON beside a pruned seed checkpoint")
    return flags


def network_or_ir() -> Flags:
    """The network that makes mattes, and how images are prepared for it."""
    flags = _flags()
    flags.add_argument("--checkpoint", type=checkpoint_path, help=CHECKPOINT)
    flags.add_argument("--prune-info", type=Path, help="the seed's JSON beside a pruned seed checkpoint")
    flags.add_argument("--onnx", type=Path, help=f"ONNX file; {FIXED}")
    flags.add_argument("--ir", type=Path, help=f"{IR}; {FIXED}")
    flags.add_argument(
        "--protocol",
        choices=get_args(Protocol),
        help="preprocessing (default: the letterbox of a fixed input size, otherwise seed)",
    )
    return flags


def dataset() -> Flags:
    """The data set that a verb reads."""
    flags = _flags()
    flags.add_argument("--dataset", required=True, help=DATASET)
    return flags


def device() -> Flags:
    """Where a verb computes."""
    flags = _flags()
    flags.add_argument("--device", type=_device, default="cpu", help="cpu, or cuda (default: cpu)")
    return flags


def any_device() -> Flags:
    """Where a verb computes that takes a checkpoint, an ONNX file or an IR."""
    flags = _flags()
    flags.add_argument(
        "--device",
        default="cpu",
        help="cpu, or cuda for a checkpoint; for --onnx and --ir OpenVINO's name, as gpu or npu (default: cpu)",
    )
    return flags


def out_folder() -> Flags:
    """Where a verb writes its files."""
    flags = _flags()
    flags.add_argument("--out", type=folder_to_write, required=True, help="folder to write into")
    return flags


def out_checkpoint() -> Flags:
    """What a verb writes."""
    flags = _flags()
    flags.add_argument("--out", type=file_to_write, required=True, help="checkpoint to write (.safetensors)")
    return flags


def seed() -> Flags:
    """What a verb draws its random numbers from."""
    flags = _flags()
    flags.add_argument("--seed", type=seed_number, default=0, help="same seed, same result (default: 0)")
    return flags


def size() -> Flags:
    """The input that a graph is made, or its cost counted, for."""
    flags = _flags()
    flags.add_argument("--size", type=int, default=512, help="side of the square input (default: 512)")
    return flags


def training(title: str = "training") -> Flags:
    """How a verb trains."""
    flags = _flags()
    group = flags.add_argument_group(title)
    fields, sparsity = TrainingConfig.model_fields, SparsityConfig.model_fields
    for name, kind in _NUMBERS.items():
        group.add_argument(f"--{name.replace('_', '-')}", type=kind, help=fields[name].description)
    for name in _CHOICES:
        group.add_argument(f"--{name}", choices=get_args(fields[name].annotation), help=fields[name].description)
    frozen = fields["freeze_backbone"].description
    group.add_argument("--freeze-backbone", action="store_const", const=True, help=frozen)
    group.add_argument(
        "--sparsity",
        type=float,
        help=f"sparse training, before pruning by bn_scale: {sparsity['strength'].description}",
    )
    group.add_argument(
        "--sparsity-schedule",
        choices=get_args(sparsity["schedule"].annotation),
        help=f"of the strength. {sparsity['schedule'].description}",
    )
    return flags


def retraining(title: str = "training") -> Flags:
    """How a verb retrains what was pruned."""
    flags = Flags(add_help=False, parents=[training(title)])
    field = RetrainConfig.model_fields["initialise"]
    flags.add_argument("--initialise", choices=get_args(field.annotation), help=field.description)
    return flags


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


def torch_device(text: str) -> str:
    """`cpu`, or `cuda` where there is one.

    Raises:
        ConfigError: anything else; OpenVINO's devices are for ONNX files and IRs.
    """
    try:
        return _device(text)
    except argparse.ArgumentTypeError as error:
        raise ConfigError(f"--device: {error}; OpenVINO's devices go with --onnx and --ir") from error


def texts(text: str) -> list[str]:
    """`a,b` as its elements."""
    return [part.strip() for part in text.split(",")]


def numbers(text: str) -> list[float]:
    """`0.1,0.3` as numbers."""
    return [float(part) for part in text.split(",")]


def natural(text: str) -> int:
    """`0` as a number.

    Raises:
        ArgumentTypeError: not a whole number from 0 up.
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted a whole number from 0 up")
    return int(text)


def positive(text: str) -> int:
    """`2` as a number.

    Raises:
        ArgumentTypeError: not a whole number from 1 up.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted a whole number from 1 up")
    return int(text)


def positives(text: str) -> list[int]:
    """`1,2,4` as numbers, see `positive`."""
    return [positive(part) for part in texts(text)]


def seed_number(text: str) -> int:
    """`7` as a number.

    Raises:
        ArgumentTypeError: not a whole number that the random generators take, as the configs' seeds.
    """
    if (number := natural(text)) >= 2**31:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted a whole number below 2147483648")
    return number


def digest(text: str) -> str:
    """A SHA-256 in hexadecimal digits, in lower case as tools print it.

    Raises:
        ArgumentTypeError: not 64 hexadecimal digits.
    """
    if not re.fullmatch("[0-9a-f]{64}", text.lower()):
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted the 64 hexadecimal digits of a SHA-256")
    return text.lower()


def _device(text: str) -> str:
    is_there = text == "cpu" or (text.partition(":")[0] == "cuda" and torch.cuda.is_available())
    if not is_there:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted cpu, or cuda where there is one")
    return text


def _output() -> Flags:
    flags = _flags()
    flags.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    return flags


def _flags() -> Flags:
    return Flags(add_help=False)
