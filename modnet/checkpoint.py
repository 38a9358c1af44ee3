"""Reading and writing networks: ours, and what others publish where the workload knows it.

Our own file is a safetensors file whose metadata hold the workload's name, the architecture spec and the provenance: it
needs nothing else to load, and reading it runs no code.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from modnet.errors import CheckpointError
from modnet.files import write_atomically
from modnet.network import Network, NetworkSpec, PrunableNetwork
from modnet.torch_file import START_BYTES, read_torch_file
from modnet.workload import Workload

FORMAT = "modnet-checkpoint-1"


@dataclass(frozen=True)
class Checkpoint(Generic[Network]):
    """A network and where it came from."""

    network: Network  # in evaluation mode, on the CPU
    # JSON-like facts written when it was saved (base, pruning config, training, …); empty for published layouts
    provenance: Mapping[str, Any] = field(default_factory=dict)
    layout: str = "modnet"  # "modnet" for our own, else the name that the workload gives it


def to_bytes(network: PrunableNetwork, provenance: Mapping[str, Any], *, half: bool = False) -> bytes:
    """The content of our checkpoint file; equal networks and provenances, JSON-like facts, give equal bytes.

    With `half` weights of convolutions and linear layers are rounded to float16, for half the size. Norms stay float32:
    their variances can lie outside of float16's range.

    Raises:
        CheckpointError: values that are not finite, before or after rounding.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    if half:
        tensors = {name: tensor.half() if tensor.dim() > 1 else tensor for name, tensor in tensors.items()}
    _require_finite(tensors, "the network to save")
    of_network = {"workload": network.workload, "spec": network.spec.model_dump()}
    header = {"format": FORMAT, **of_network, "provenance": provenance}
    # One entry only: safetensors writes several in another order in every process.
    return save(tensors, {"modnet": json.dumps(header, sort_keys=True, separators=(",", ":"))})


def save_checkpoint(network: PrunableNetwork, path: Path, provenance: Mapping[str, Any], *, half: bool = False) -> Path:
    """Writes our checkpoint file (see `to_bytes`); what stood at `path` stays readable until that is complete."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, to_bytes(network, provenance, half=half))
    except OSError as error:
        raise CheckpointError(f"cannot write checkpoint {path}: {error.strerror or error}") from error
    return path


def read_checkpoint(path: Path, workload: Workload[Network], beside: Path | None = None) -> Checkpoint[Network]:
    """Reads a checkpoint of our layout or of a published one; which one is seen from its content.

    The published ones are read from safetensors and from torch's files, see `read_torch_file`.

    Args:
        workload: what the network must belong to. A file of version 0.1.0 does not say it.
        beside: a published file that belongs to a published checkpoint; what it says must agree.

    Raises:
        CheckpointError: the file is missing, cut off, of another network or workload, holds values that are not finite,
            or does not agree with `beside`.
    """
    if path in workload.shipped.values() and not path.is_file():
        why = "this installation lacks what it should bring along: install modnet-edge again"
        raise CheckpointError(f"cannot read checkpoint {path}: {why}")
    start = _start_of(path)
    # safetensors: the length of a header in eight bytes, and the header, a JSON object. Ours says that it is.
    header, state = _read_safetensors(path) if start[8:9] == b"{" else (None, read_torch_file(path, start))
    _require_finite(state, f"checkpoint {path}")
    if header is None:
        if workload.read_published is None:
            raise CheckpointError(
                f"{path} is no checkpoint of this project, and workload {workload.name!r} has no others"
            )
        spec, ours, layout = workload.read_published(state, f"checkpoint {path}", beside)
        return Checkpoint(_network(workload, spec, ours, path), {}, layout)
    if beside is not None:
        raise CheckpointError(f"{path} is a checkpoint of this project; nothing belongs to it, got {beside}")
    return _own(header, state, path, workload)


def workload_in(path: Path) -> str | None:
    """The name of the workload that a checkpoint is of; None in published ones, and in ours of version 0.1.0.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    if _start_of(path)[8:9] != b"{":
        return None
    text = _read_safetensors(path, tensors=False)[0]
    name = None if text is None else _parsed(text, path).get("workload")
    if not isinstance(name, str | None):
        raise CheckpointError(f"the header of checkpoint {path} is damaged: its workload is {name!r}, wanted a name")
    return name


def _start_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(START_BYTES)
    except OSError as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error.strerror or error}") from error


def _read_safetensors(path: Path, *, tensors: bool = True) -> tuple[str | None, dict[str, Tensor]]:
    """The text of our header, None in a file that is not ours, and the tensors."""
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get("modnet")
            names = file.keys() if tensors else ()
            return header, {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error}") from error


def _require_finite(state: Mapping[str, Tensor], where: str) -> None:
    """Refuses tensors that are no plain arrays, and values that are infinite or not a number as float32."""
    for name, tensor in state.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
            found = f"{tensor.layout} of {tensor.dtype}"
            raise CheckpointError(f"{where}: {name} is {found}, wanted a plain array of reals")
        count = tensor.numel()
        if bad := count - int(tensor.float().isfinite().sum()):
            raise CheckpointError(f"{where}: {name} has {bad} of {count} values that are infinite or not a number")


def _own(text: str, state: Mapping[str, Tensor], path: Path, workload: Workload[Network]) -> Checkpoint[Network]:
    header = _parsed(text, path)
    of = header.get("workload")
    if of not in (None, workload.name):
        raise CheckpointError(f"{path} holds a network of workload {of!r}, wanted {workload.name!r}")
    try:
        spec = workload.spec.from_json(json.dumps(header["spec"]))
        provenance = dict(header["provenance"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"the header of checkpoint {path} is damaged: {error!r}") from error
    except CheckpointError as error:
        if of is not None:
            raise
        why = "does not say its workload, as those of version 0.1.0, and is no network of"
        raise CheckpointError(f"{path} {why} {workload.name!r}: {error}") from error
    return Checkpoint(_network(workload, spec, state, path), provenance, "modnet")


def _parsed(text: str, path: Path) -> dict[str, Any]:
    try:
        header: dict[str, Any] = json.loads(text)
        found = header.get("format")
    except (AttributeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"the header of checkpoint {path} is damaged: {error!r}") from error
    if found != FORMAT:
        raise CheckpointError(f"{path} is of format {found!r}, wanted {FORMAT!r}")
    return header


def _network(workload: Workload[Network], spec: NetworkSpec, state: Mapping[str, Tensor], path: Path) -> Network:
    try:
        with torch.device("meta"):  # of any size, without its memory
            network = workload.network(spec)
    except (RuntimeError, TypeError) as error:  # a width that is no 64-bit number
        why = str(error).splitlines()[0]  # a trace of torch follows
        raise CheckpointError(f"checkpoint {path} is of an impossible network: {why}") from error
    wanted = network.state_dict()
    problems = [f"missing {name}" for name in wanted if name not in state]
    problems += [f"unexpected {name}" for name in state if name not in wanted]
    problems += [
        f"{name} is {tuple(state[name].shape)}, wanted {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise CheckpointError(f"checkpoint {path} does not fit its network: {'; '.join(problems[:5])}{more}")
    network.to_empty(device="cpu").load_state_dict(dict(state))
    return network.eval()
