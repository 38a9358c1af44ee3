"""Flags that several verbs have. Nothing heavy is imported here: help shall come at once."""

import argparse
import sys
from pathlib import Path
from typing import Any

from modnet.errors import ConfigError
from modnet.files import write_atomically
from modnet.shipped import SHIPPED
from modnet.workloads import USUAL_WORKLOAD, WORKLOADS
from modnet.workloads.matting.data.protocols import OPEN_PROTOCOLS, Protocol
from modnet.workloads.matting.weights import checkpoint_path
from tasks.cli import values
from tasks.cli.add_flag import Flags, add_flag

Options = argparse.Namespace
Result = dict[str, Any]
"""What a verb found: printed as one JSON object, or as lines `name: value`, the value of `table` by itself."""

OPEN_PROTOCOL: Protocol = "modelcompression"  # how images are prepared for a network of open input size

CHECKPOINT = (
    f"{SHIPPED} (the project's own unpruned network), or a file of this project, of the official MODNet or of "
    "MODNet-ModelCompression."
)
DATASET = "synthetic, ppm-100, a zip, a folder or a URL."
IR = "OpenVINO .xml, its .bin beside it"
SIZE = 512

_FIXED = "A network of fixed input takes its own letterbox."


def network(verb: Flags) -> None:
    """The checkpoint that a verb works on."""
    checkpoint(verb, required=True)


def checkpoint(verb: Flags, says: str = "The network:", **how: Any) -> None:
    """A checkpoint, and what may come with it; `how` as `add_flag` takes it."""
    add_flag(verb, "--checkpoint", f"{says} {CHECKPOINT}", type=checkpoint_path, **how)
    says = "The JSON that MODNet-ModelCompression writes beside a pruned checkpoint."
    add_flag(verb, "--prune-info", says, type=Path)


def network_or_ir(verb: Flags, without: str) -> None:
    """The network that makes mattes, and how images are prepared for it; `without` is taken without a checkpoint."""
    checkpoint(verb, without=without)
    add_flag(verb, "--onnx", f"ONNX file in place of a checkpoint. {_FIXED}", type=Path)
    says = "Several, or a folder of them: each image is read by the one that fits it."
    add_flag(verb, "--ir", f"{IR}, in place of a checkpoint. {_FIXED} {says}", type=Path, nargs="+")
    protocol(verb)


def protocol(verb: Flags) -> None:
    """How images reach a network of open input size."""
    add_flag(
        verb,
        "--protocol",
        f"How images are prepared: {', '.join(OPEN_PROTOCOLS)}, or the letterbox of a height and width, as device-512 "
        "or device-480x320.",
        type=values.protocol,
        without=f"the letterbox of a fixed input size, otherwise {OPEN_PROTOCOL}",
    )


def dataset(verb: Flags) -> None:
    """The data set that a verb reads."""
    add_flag(verb, "--dataset", f"Labelled images, as portraits with mattes: {DATASET}", required=True)


def workload(verb: Flags) -> None:
    """The family of networks that a verb works for, where no checkpoint says it."""
    says = "What networks are to do, and so what a data set holds."
    add_flag(verb, "--workload", says, choices=tuple(WORKLOADS), without=USUAL_WORKLOAD)


def device(verb: Flags) -> None:
    """Where a verb computes."""
    add_flag(verb, "--device", "cpu, or cuda.", type=values.device, default="cpu")


def any_device(verb: Flags) -> None:
    """Where a verb computes that takes a checkpoint, an ONNX file or an IR."""
    says = "cpu, or cuda for a checkpoint. For --onnx and --ir OpenVINO's name, as gpu or npu."
    add_flag(verb, "--device", says, default="cpu")


def out_folder(verb: Flags) -> None:
    """Where a verb writes its files."""
    add_flag(verb, "--out", "Folder to write into.", type=values.folder_to_write, required=True)
    overwrite(verb)


def out_checkpoint(verb: Flags) -> None:
    """What a verb writes."""
    add_flag(verb, "--out", "Checkpoint to write (.safetensors).", type=values.file_to_write, required=True)
    overwrite(verb)


def out_picture(verb: Flags, name: str, says: str) -> None:
    """A picture that a verb draws if it is asked to."""
    add_flag(verb, name, f"PNG to write: {says}", type=values.file_to_write)


def overwrite(verb: Flags) -> None:
    """What `require_free` reads: no verb replaces a file of an earlier run without it."""
    add_flag(verb, "--overwrite", "Replaces files of earlier runs that are in the way.", action="store_true")


def store(verb: Flags) -> None:
    """The object store of the runs."""
    says = "The object store: s3://bucket[/prefix] or file:///folder."
    add_flag(verb, "--store", says, metavar="URL", without="MODNET_STORE, or .modnet/store in the current folder")


def keys(verb: Flags) -> None:
    """The keys that sign releases."""
    add_flag(verb, "--keys", "Folder of the keys.", type=Path, without="MODNET_KEYS, or .modnet/keys here")


def root_folder(verb: Flags) -> None:
    """The key that signs which keys count."""
    add_flag(verb, "--root-folder", "Folder of root.pem, on a medium that you carry away.", type=Path, required=True)


def seed(verb: Flags) -> None:
    """What a verb draws its random numbers from."""
    add_flag(verb, "--seed", "Same seed, same result.", type=values.SEED, default=0)


def open_side(verb: Flags) -> None:
    """The input that a graph is compiled for, where its file leaves the size open."""
    says = "Side of the square input, in pixels, where the file leaves it open."
    add_flag(verb, "--size", says, type=values.Whole(1), limits="a multiple of 32", without=str(SIZE))


def size(verb: Flags, says: str = "") -> None:
    """Height and width of a graph's input."""
    says = f"Height x width of the input as 480x320, or the side of a square, in pixels.{says}"
    add_flag(verb, "--size", says, type=values.size, limits="multiples of 32", without=str(SIZE))


def warn(text: str) -> None:
    """Says on the error stream what somebody should know at once, though the work goes on."""
    sys.stderr.write(f"modnet: warning: {text}\n")


def write_result(path: Path, content: bytes) -> None:
    """Puts a file that was asked for where it was asked for; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


def require_free(options: Options, *results: Path | None) -> None:
    """Refuses to replace what an earlier run wrote, before anything is computed, unless `--overwrite` says so.

    The results are the files that the verb will write; None for what it was not asked for.

    Raises:
        ConfigError: some are there already; names the first, and how many more.
    """
    taken = [path for path in results if path is not None and path.exists()]
    if taken and not options.overwrite:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise ConfigError(f"{taken[0]}{more} is there already: choose another place, or replace it with --overwrite")
