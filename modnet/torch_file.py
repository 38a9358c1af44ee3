"""The weights in a file that torch saved: a zip, or before torch 1.6 a row of pickles; no code of the file runs."""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor

from modnet.errors import CheckpointError

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_TAR, _TAR_AT = b"ustar", 257
START_BYTES = _TAR_AT + len(_TAR)  # how much of a file tells what it is
_OTHERS = (
    (b"version https://git-lfs", "a Git LFS pointer that stands for the file: run `git lfs pull` where it came from"),
    (b"<?xml", "XML; an OpenVINO IR goes to --ir"),
    (b"<", "a web page that was saved under this name (a quota, a login): download the file anew"),
)
_SAVE_ANEW = (
    "If you trust the file, read it where the code is that wrote it, `x = torch.load(path, weights_only=False)`, and "
    "save the weights alone: `torch.save(x.state_dict(), 'weights.pt')` of a network, "
    "`torch.save(x['state_dict'], 'weights.pt')` of a training's dictionary"
)


def read_torch_file(path: Path, start: bytes) -> dict[str, Tensor]:
    """The state dict in `path`, on the CPU, taken out of the dictionary that a training may have put it into.

    `start` is the file's first `START_BYTES`.

    Raises:
        CheckpointError: another kind of file, damaged, holding objects other than weights, or none or several state
            dicts.
    """
    _require_known(path, start)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises RuntimeError, UnpicklingError, EOFError, … for a damaged or unsafe file
        raise CheckpointError(f"cannot read checkpoint {path} as plain weights: {_reason(error)}") from error
    if _is_state(content):
        return dict(content)
    if not isinstance(content, dict):
        raise CheckpointError(f"checkpoint {path} holds a {type(content).__name__}, wanted a state dict of tensors")
    found = {name: value for name, value in content.items() if _is_state(value)}
    if len(found) != 1:
        what = "several state dicts" if found else "no state dict of tensors"
        names = ", ".join(repr(name) for name in list(found or content)[:8]) or "nothing"
        raise CheckpointError(f"checkpoint {path} holds {what}: {names}; wanted one, saved alone by torch.save")
    return dict(next(iter(found.values())))


def _require_known(path: Path, start: bytes) -> None:
    """Refuses what torch did not save, and what it saved in ways that cannot be read without running code."""
    if start.startswith(_ZIP):
        if _is_script(path):
            raise CheckpointError(
                f"checkpoint {path} is a TorchScript program, wanted its weights: "
                "`torch.save(torch.jit.load(path).state_dict(), 'weights.pt')`"
            )
    elif start[_TAR_AT:].startswith(_TAR):
        why = "as torch saved before 0.1.10 and cannot read without running code of the file"
        raise CheckpointError(f"checkpoint {path} is a .tar, {why}. {_SAVE_ANEW}")
    elif not start.startswith(_PICKLE):
        others = [what for other, what in _OTHERS if start.lstrip().startswith(other)]
        is_what = f"is {others[0]}" if others else f"starts with {start[:8]!r}" if start else "is empty"
        raise CheckpointError(
            f"cannot read checkpoint {path}: it {is_what} (wanted safetensors, or a state dict saved by torch)"
        )


def _is_script(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"cannot read checkpoint {path}: it is cut off or damaged: {error}") from error


def _reason(error: Exception) -> str:
    """What torch means, without its advice, which is coloured, and wrong where the weights can be had alone."""
    text = str(error)
    objects = re.search(r"GLOBAL (\S+) was not an allowed", text)
    if objects:
        return f"it holds a {objects[1]}, and whoever reads such objects runs their code. {_SAVE_ANEW}"
    _, found, rest = text.partition("WeightsUnpickler error:")
    return ((rest if found else text).strip() or repr(error)).splitlines()[0]


def _is_state(content: Any) -> TypeGuard[Mapping[str, Tensor]]:
    if not isinstance(content, dict) or not content:
        return False
    return all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())
