"""Reading and writing networks.

Our own file is a safetensors file whose metadata hold the architecture spec and the provenance: it needs nothing else
to load, and reading it runs no code. What others publish can be read as well: see
`modnet.workloads.matting.published.layout`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from modnet.errors import CheckpointError
from modnet.files import write_atomically
from modnet.torch_file import START_BYTES, read_torch_file
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.published.layout import is_seed_layout, our_state, spec_from_shapes
from modnet.workloads.matting.published.modelcompression_info import require_agreement
from modnet.workloads.matting.weights import SHIPPED_BASE, SHIPPED_SMALL

FORMAT = "modnet-checkpoint-1"


@dataclass(frozen=True)
class Checkpoint:
    """A network and where it came from.

    Attributes:
        network: in evaluation mode, on the CPU.
        provenance: JSON-like facts written when it was saved (base, pruning config, training, …); empty for
            published layouts.
        layout: "modnet", "official" or "seed".
    """

    network: MODNet
    provenance: Mapping[str, Any] = field(default_factory=dict)
    layout: str = "modnet"


def to_bytes(network: MODNet, provenance: Mapping[str, Any], *, half: bool = False) -> bytes:
    """The content of our checkpoint file; equal networks and provenances give equal bytes.

    Args:
        network: as it is.
        provenance: JSON-like facts.
        half: weights of convolutions and linear layers are rounded to float16, for half the size. Norms stay float32:
            their variances can lie outside of float16's range.

    Raises:
        CheckpointError: values that are not finite, before or after rounding.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    if half:
        tensors = {name: tensor.half() if tensor.dim() > 1 else tensor for name, tensor in tensors.items()}
    _require_finite(tensors, "the network to save")
    header = {"format": FORMAT, "spec": network.spec.model_dump(), "provenance": provenance}
    # One entry only: safetensors writes several in another order in every process.
    return save(tensors, {"modnet": json.dumps(header, sort_keys=True, separators=(",", ":"))})


def save_checkpoint(network: MODNet, path: Path, provenance: Mapping[str, Any], *, half: bool = False) -> Path:
    """Writes our checkpoint file (see `to_bytes`); what stood at `path` stays readable until that is complete."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, to_bytes(network, provenance, half=half))
    except OSError as error:
        raise CheckpointError(f"cannot write checkpoint {path}: {error.strerror or error}") from error
    return path


def load(path: str | Path, prune_info: str | Path | None = None) -> MODNet:
    """The network in a checkpoint of any known layout, in evaluation mode on the CPU. See `read_checkpoint`."""
    return read_checkpoint(path, prune_info).network


def read_checkpoint(path: str | Path, prune_info: str | Path | None = None) -> Checkpoint:
    """Reads a checkpoint of our layout, the official one or the seed's; which one is seen from its content.

    The published ones are read from safetensors and from torch's files, see `read_torch_file`.

    Args:
        path: the file.
        prune_info: the seed's JSON beside a pruned seed checkpoint. The widths are read from the tensors, so it may be
            missing; when given it must agree with them.

    Raises:
        CheckpointError: the file is missing, cut off, of another network, holds values that are not finite, or does not
            agree with `prune_info`.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(START_BYTES)
    except OSError as error:
        is_ours = path in (SHIPPED_BASE, SHIPPED_SMALL)
        why = "; this installation lacks what it should bring along: install modnet-edge again" if is_ours else ""
        raise CheckpointError(f"cannot read checkpoint {path}: {error.strerror or error}{why}") from error
    # safetensors: the length of a header in eight bytes, and the header, a JSON object. Ours says that it is.
    header, state = _read_safetensors(path) if start[8:9] == b"{" else (None, read_torch_file(path, start))
    _require_finite(state, f"checkpoint {path}")
    if header is None:
        return _published(state, path, None if prune_info is None else Path(prune_info))
    if prune_info is not None:
        raise CheckpointError(f"{path} is no seed checkpoint; it takes no prune info, got {prune_info}")
    return _own(header, state, path)


def _read_safetensors(path: Path) -> tuple[str | None, dict[str, Tensor]]:
    """The text of our header, None in a file that is not ours, and the tensors."""
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get("modnet")
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error}") from error


def _require_finite(state: Mapping[str, Tensor], where: str) -> None:
    """Refuses tensors that are no plain arrays, and values that are infinite or not a number as float32."""
    for name, tensor in state.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
            raise CheckpointError(
                f"{where}: {name} is {tensor.layout} of {tensor.dtype}, wanted a plain array of reals"
            )
        bad = tensor.numel() - int(tensor.float().isfinite().sum())
        if bad:
            raise CheckpointError(
                f"{where}: {name} has {bad} of {tensor.numel()} values that are infinite or not a number"
            )


def _own(text: str, state: Mapping[str, Tensor], path: Path) -> Checkpoint:
    try:
        header = json.loads(text)
        found = header.get("format")
        if found != FORMAT:
            raise CheckpointError(f"{path} is of format {found!r}, wanted {FORMAT!r}")
        spec = ModnetSpec.from_json(json.dumps(header["spec"]))
        provenance = dict(header["provenance"])
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"the header of checkpoint {path} is damaged: {error!r}") from error
    return Checkpoint(_network(spec, state, path), provenance, "modnet")


def _published(content: Mapping[str, Tensor], path: Path, prune_info: Path | None) -> Checkpoint:
    where = f"checkpoint {path}"
    state = our_state(content, where)
    spec = spec_from_shapes(state, where)
    if prune_info is not None:
        require_agreement(spec, prune_info)
    return Checkpoint(_network(spec, state, path), {}, "seed" if is_seed_layout(content) else "official")


def _network(spec: ModnetSpec, state: Mapping[str, Tensor], path: Path) -> MODNet:
    """`MODNet(spec)` holding `state`; every disagreement is named."""
    try:
        with torch.device("meta"):  # of any size, without its memory
            network = MODNet(spec)
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
