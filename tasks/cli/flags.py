"""Flags that several verbs have. Nothing heavy is imported here: help shall come at once."""

from __future__ import annotations

import argparse
import errno
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from modnet.configs import SHIPPED, RetrainConfig, SparsityConfig, TrainingConfig
from modnet.errors import ConfigError
from modnet.protocols import Protocol
from modnet.workloads.matting.weights import checkpoint_path
from tasks.cli.exit_codes import PartlyDoneError as PartlyDoneError
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
SIZE = 512
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


def warn(text: str) -> None:
    """Says on the error stream what somebody should know at once, though the work goes on."""
    sys.stderr.write(f"modnet: warning: {text}\n")


def network(verb: Flags) -> None:
    """The checkpoint that a verb works on."""
    verb.add_argument("--checkpoint", type=checkpoint_path, required=True, help=CHECKPOINT)
    prune_info(verb)


def prune_info(verb: Any) -> None:
    """What may come with a checkpoint of the seed; `verb` may be a group of flags."""
    verb.add_argument("--prune-info", type=Path, help="the seed's JSON beside a pruned seed checkpoint (default: none)")


def network_or_ir(verb: Flags, default: str) -> None:
    """The network that makes mattes, and how images are prepared for it.

    Args:
        verb: that gets the flags.
        default: what is taken without a checkpoint.
    """
    verb.add_argument("--checkpoint", type=checkpoint_path, help=f"{CHECKPOINT} (default: {default})")
    prune_info(verb)
    verb.add_argument("--onnx", type=Path, help=f"ONNX file; {FIXED} (default: the checkpoint)")
    verb.add_argument("--ir", type=Path, help=f"{IR}; {FIXED} (default: the checkpoint)")
    verb.add_argument(
        "--protocol",
        choices=get_args(Protocol),
        help="preprocessing (default: the letterbox of a fixed input size, otherwise seed)",
    )


def dataset(verb: Flags) -> None:
    """The data set that a verb reads."""
    verb.add_argument("--dataset", required=True, help=DATASET)


def device(verb: Flags) -> None:
    """Where a verb computes."""
    verb.add_argument("--device", type=_device, default="cpu", help="cpu, or cuda (default: cpu)")


def any_device(verb: Flags) -> None:
    """Where a verb computes that takes a checkpoint, an ONNX file or an IR."""
    verb.add_argument(
        "--device",
        default="cpu",
        help="cpu, or cuda for a checkpoint; for --onnx and --ir OpenVINO's name, as gpu or npu (default: cpu)",
    )


def out_folder(verb: Flags) -> None:
    """Where a verb writes its files."""
    verb.add_argument("--out", type=folder_to_write, required=True, help="folder to write into")
    overwrite(verb)


def out_checkpoint(verb: Flags) -> None:
    """What a verb writes."""
    verb.add_argument("--out", type=file_to_write, required=True, help="checkpoint to write (.safetensors)")
    overwrite(verb)


def overwrite(verb: Flags) -> None:
    """What `require_free` reads: no verb replaces a file of an earlier run without it."""
    verb.add_argument("--overwrite", action="store_true", help="replace files of earlier runs that are in the way")


def seed(verb: Flags) -> None:
    """What a verb draws its random numbers from."""
    verb.add_argument("--seed", type=seed_number, default=0, help="same seed, same result (default: 0)")


def size(verb: Flags) -> None:
    """The input that a graph is made, or its cost counted, for."""
    verb.add_argument("--size", type=int, default=SIZE, help=f"side of the square input (default: {SIZE})")


def training(verb: Flags, title: str = "training") -> None:
    """How a verb trains."""
    group = verb.add_argument_group(title)
    add_fields(group, TrainingConfig, **_NUMBERS)
    add_choices(group, TrainingConfig, *_CHOICES)
    frozen = field_help(TrainingConfig, "freeze_backbone")
    group.add_argument("--freeze-backbone", action="store_const", const=True, help=frozen)
    strength = field_help(SparsityConfig, "strength", default="none, no sparse training")
    group.add_argument("--sparsity", type=float, help=f"sparse training, before pruning by bn_scale: {strength}")
    schedule = field_help(SparsityConfig, "schedule")
    choices = get_args(SparsityConfig.model_fields["schedule"].annotation)
    group.add_argument("--sparsity-schedule", choices=choices, help=f"of the strength. {schedule}")


def retraining(verb: Flags, title: str = "training") -> None:
    """How a verb retrains what was pruned."""
    training(verb, title)
    add_choices(verb, RetrainConfig, "initialise")


def add_fields(flags: Any, config: type[BaseModel], **kinds: Callable[[str], object]) -> None:
    """Adds a flag for each named field; help is the field's description, range and default."""
    for name, kind in kinds.items():
        flags.add_argument(f"--{name.replace('_', '-')}", type=kind, help=field_help(config, name))


def add_choices(flags: Any, config: type[BaseModel], *names: str) -> None:
    """Adds a flag for each named field that is one of several words."""
    for name in names:
        choices = get_args(config.model_fields[name].annotation)
        flags.add_argument(f"--{name.replace('_', '-')}", choices=choices, help=field_help(config, name))


def field_help(config: type[BaseModel], name: str, default: str | None = None) -> str:
    """Description, range and default of a field, so that help cannot say other than what happens.

    Args:
        config: the field's model.
        name: of the field.
        default: what happens without the flag, where that is not the field's default.
    """
    field = config.model_fields[name]
    said, _, empty = (field.description or "").partition(" Empty:")
    if empty and field.default is None and default is None:
        said += f" Without:{empty}"
    elif default is None:
        default = "none" if field.is_required() else _shown(field.default)
    facts = [*_limits(field), *([] if default is None else [f"default: {default}"])]
    return f"{said} ({'; '.join(facts)})".replace("%", "%%")


def _limits(field: FieldInfo) -> list[str]:
    """What the field takes: `1 to 1000`, `above 0`, `a multiple of 32`."""
    bounds = {
        name: f"{value:.9g}"
        for one in field.metadata
        for name in ("ge", "gt", "le", "lt", "multiple_of")
        if (value := getattr(one, name, None)) is not None
    }
    low = bounds.get("ge") or (f"above {bounds['gt']}" if "gt" in bounds else None)
    high = bounds.get("le") or (f"below {bounds['lt']}" if "lt" in bounds else None)
    limits = [f"{low} to {high}" if low and high else f"from {low}" if "ge" in bounds else low or high]
    multiple = bounds.get("multiple_of")
    return [one for one in (*limits, multiple and f"a multiple of {multiple}") if one]


def _shown(default: object) -> str:
    """A default as a person types it."""
    if default is None or default == ():
        return "none"
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


def require_free(options: Options, *results: Path) -> None:
    """Refuses to replace what an earlier run wrote, before anything is computed, unless `--overwrite` says so.

    Args:
        options: what was typed.
        *results: the files that the verb will write.

    Raises:
        ConfigError: some are there already; names the first, and how many more.
    """
    taken = [path for path in results if path.exists()]
    if taken and not options.overwrite:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise ConfigError(f"{taken[0]}{more} is there already: choose another place, or replace it with --overwrite")


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
    if text == "cpu" or (text.partition(":")[0] == "cuda" and _has_cuda()):
        return text
    raise argparse.ArgumentTypeError(f"got {text!r}, wanted cpu, or cuda where there is one")


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()
