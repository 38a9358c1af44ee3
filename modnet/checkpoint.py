"""Reading and writing networks.

Our own file is a safetensors file whose metadata hold the architecture spec and the provenance: it needs nothing else
to load, and reading it runs no code. Two published layouts can be read as well, both `torch.save` state dicts: that of
the official MODNet release, and that of MODNet-ModelCompression ("the seed"), pruned or not.
"""

from __future__ import annotations

import json
import re
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
from modnet.models.modnet import MODNet
from modnet.spec import MOBILENET_V2_STAGES, BlockSpec, ModnetSpec, SplitWidth

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


def to_bytes(network: MODNet, provenance: Mapping[str, Any]) -> bytes:
    """The content of our checkpoint file; equal networks and provenances give equal bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    header = {"format": FORMAT, "spec": network.spec.model_dump(), "provenance": provenance}
    # One entry only: safetensors writes several in another order in every process.
    return save(tensors, {"modnet": json.dumps(header, sort_keys=True, separators=(",", ":"))})


def save_checkpoint(network: MODNet, path: Path, provenance: Mapping[str, Any]) -> Path:
    """Writes our checkpoint file; whatever stood at `path` stays readable until the new one is complete."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, to_bytes(network, provenance))
    except OSError as error:
        raise CheckpointError(f"cannot write checkpoint {path}: {error.strerror or error}") from error
    return path


def load(path: str | Path, prune_info: str | Path | None = None) -> MODNet:
    """The network in a checkpoint of any known layout, in evaluation mode on the CPU. See `read_checkpoint`."""
    return read_checkpoint(path, prune_info).network


def read_checkpoint(path: str | Path, prune_info: str | Path | None = None) -> Checkpoint:
    """Reads a checkpoint of our layout, the official one or the seed's; which one is seen from its content.

    Args:
        path: the file.
        prune_info: the seed's JSON beside a pruned seed checkpoint. The widths are read from the tensors, so it may be
            missing; when given it must agree with them.

    Raises:
        CheckpointError: the file is missing, cut off, of another network, or does not agree with `prune_info`.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            is_torch_zip = file.read(4) == b"PK\x03\x04"
    except OSError as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error.strerror or error}") from error
    if is_torch_zip:
        return _read_published(path, None if prune_info is None else Path(prune_info))
    if prune_info is not None:
        raise CheckpointError(f"{path} is no seed checkpoint; it takes no prune info, got {prune_info}")
    return _read_own(path)


def _read_own(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("modnet", "{}")
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"cannot read checkpoint {path}: {error} (wanted safetensors of this project, "
            "or a state dict saved by torch of the official MODNet or the seed)"
        ) from error
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


def _network(spec: ModnetSpec, state: Mapping[str, Tensor], path: Path) -> MODNet:
    """`MODNet(spec)` holding `state`; every disagreement is named."""
    network = MODNet(spec)
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
    network.load_state_dict(dict(state))
    return network.eval()


# ---- published layouts -----------------------------------------------------------------------------------------------

# Regular expressions over published names (after `module.`) and our names; the order of inner layers is MobileNetV2's.
_NAMES = [
    (r"backbone\.model\.features\.0\.(?:cbr\.)?0\.", "backbone.stem.conv."),
    (r"backbone\.model\.features\.0\.(?:cbr\.)?1\.", "backbone.stem.norm."),
    (r"backbone\.model\.features\.18\.(?:cbr\.)?0\.", "backbone.last.conv."),
    (r"backbone\.model\.features\.18\.(?:cbr\.)?1\.", "backbone.last.norm."),
    (r"lr_branch\.se_block\.fc\.0\.", "semantic.squeeze_excite.squeeze."),
    (r"lr_branch\.se_block\.fc\.2\.", "semantic.squeeze_excite.excite."),
    (r"lr_branch\.conv_(lr16x|lr8x)\.layers\.", r"semantic.\1."),
    (r"lr_branch\.conv_lr\.layers\.0\.", "semantic.head."),
    (r"hr_branch\.tohr_(enc2x|enc4x)\.layers\.", r"detail.to_\1."),
    (r"hr_branch\.conv_(enc2x|enc4x)\.layers\.", r"detail.\1."),
    (r"hr_branch\.conv_(hr4x|hr2x)\.(\d)\.layers\.", r"detail.\1.\2."),
    (r"hr_branch\.conv_hr\.0\.layers\.", "detail.head_features."),
    (r"hr_branch\.conv_hr\.1\.layers\.0\.", "detail.head."),
    (r"f_branch\.conv_(lr4x|f2x)\.layers\.", r"fusion.\1."),
    (r"f_branch\.conv_f\.0\.layers\.", "fusion.head_features."),
    (r"f_branch\.conv_f\.1\.layers\.0\.", "fusion.head."),
]
_BLOCK = re.compile(r"backbone\.model\.features\.(\d+)\.conv\.(\d)\.(.+)")
# Position in a published block's Sequential -> our layer, with and without an expand convolution.
_WITH_EXPAND = {
    "0": "expand.conv",
    "1": "expand.norm",
    "3": "depthwise.conv",
    "4": "depthwise.norm",
    "6": "project.conv",
    "7": "project.norm",
}
_WITHOUT_EXPAND = {"0": "depthwise.conv", "1": "depthwise.norm", "3": "project.conv", "4": "project.norm"}


def _our_name(name: str, expands: Mapping[int, bool]) -> str | None:
    """Our name of a published tensor; None for a name of no known layout."""
    block = _BLOCK.fullmatch(name)
    if block:
        number, position, rest = int(block[1]), block[2], block[3]
        layers = _WITH_EXPAND if expands.get(number, True) else _WITHOUT_EXPAND
        return f"backbone.blocks.{number - 1}.{layers[position]}.{rest}" if position in layers else None
    for pattern, replacement in _NAMES:
        ours, changed = re.subn(f"^{pattern}", replacement, name)
        if changed:
            # Conv + IBNorm + ReLU stand in one Sequential: position 0 is the convolution, 1 the norm.
            ours = re.sub(r"\.0\.(weight|bias)$", r".conv.\1", ours)
            return re.sub(r"\.1\.bnorm\.", ".norm.batch.", ours)
    return None


def _read_published(path: Path, prune_info: Path | None) -> Checkpoint:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises RuntimeError, UnpicklingError, EOFError, … for a damaged or unsafe file
        raise CheckpointError(f"cannot read checkpoint {path} as plain weights: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"checkpoint {path} holds a {type(content).__name__}, wanted a state dict of tensors")
    # The backbone is registered twice in the published networks; both names hold one tensor.
    published = {name.removeprefix("module."): tensor for name, tensor in content.items()}
    published = {name: tensor for name, tensor in published.items() if not name.startswith("lr_branch.backbone.")}

    is_seed = any(".cbr." in name for name in published)
    expands = {
        number: f"backbone.model.features.{number}.conv.6.weight" in published
        for number in range(1, 1 + sum(stage[2] for stage in MOBILENET_V2_STAGES))
    }
    state: dict[str, Tensor] = {}
    for name, tensor in published.items():
        ours = _our_name(name, expands)
        if ours is None:
            raise CheckpointError(f"checkpoint {path} is of another network: it holds {name!r}, which no MODNet has")
        state[ours] = tensor
    spec = _spec_from_shapes(state, path)
    if prune_info is not None:
        _require_agreement(spec, prune_info)
    return Checkpoint(_network(spec, state, path), {}, "seed" if is_seed else "official")


def _spec_from_shapes(state: Mapping[str, Tensor], path: Path) -> ModnetSpec:
    """The architecture that published weights imply: widths from shapes, a skip where stride 1 meets equal widths."""

    def width(name: str, axis: int = 0) -> int:
        tensor = state.get(f"{name}.weight")
        if tensor is None or tensor.dim() <= axis:
            raise CheckpointError(f"checkpoint {path} is of another network: it has no weights for {name}")
        return tensor.shape[axis]

    def split(name: str) -> SplitWidth:
        channels = width(f"{name}.conv")
        norm = state.get(f"{name}.norm.batch.weight")
        batch = 0 if norm is None else len(norm)
        return SplitWidth(batch=batch, instance=channels - batch)

    strides = [stride if i == 0 else 1 for _, _, repeats, stride in MOBILENET_V2_STAGES for i in range(repeats)]
    blocks = []
    inputs = width("backbone.stem.conv")
    for index, stride in enumerate(strides):
        outputs = width(f"backbone.blocks.{index}.project.conv")
        blocks.append(
            BlockSpec(
                in_channels=inputs,
                hidden_channels=width(f"backbone.blocks.{index}.depthwise.conv"),
                out_channels=outputs,
                stride=stride,
                expands=f"backbone.blocks.{index}.expand.conv.weight" in state,
                residual=stride == 1 and inputs == outputs,
            )
        )
        inputs = outputs
    try:
        return ModnetSpec(
            stem_channels=width("backbone.stem.conv"),
            blocks=tuple(blocks),
            enc2x_block=0,
            enc4x_block=2,
            last_channels=width("backbone.last.conv"),
            squeeze_channels=width("semantic.squeeze_excite.squeeze"),
            lr16x=split("semantic.lr16x"),
            lr8x=split("semantic.lr8x"),
            to_enc2x=split("detail.to_enc2x"),
            enc2x=split("detail.enc2x"),
            to_enc4x=split("detail.to_enc4x"),
            enc4x=split("detail.enc4x"),
            hr4x=(split("detail.hr4x.0"), split("detail.hr4x.1"), split("detail.hr4x.2")),
            hr2x=(split("detail.hr2x.0"), split("detail.hr2x.1"), split("detail.hr2x.2"), split("detail.hr2x.3")),
            detail_head=split("detail.head_features"),
            lr4x=split("fusion.lr4x"),
            f2x=split("fusion.f2x"),
            fusion_head=split("fusion.head_features"),
        )
    except ValueError as error:
        raise CheckpointError(f"the weights in {path} imply an impossible network: {error}") from error


def _require_agreement(spec: ModnetSpec, prune_info: Path) -> None:
    """Refuses the seed's JSON when it describes another network than the tensors beside it."""
    try:
        info = json.loads(prune_info.read_text(encoding="utf-8"))
        widths, expansions = list(info["new_cfg"]), list(info["new_expansion_cfg"])
        lr_channels, ratio = list(info["new_lr_channels"]), float(info["ratio"])
    except OSError as error:
        raise CheckpointError(f"cannot read prune info {prune_info}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{prune_info} is not the seed's prune info: {error!r}") from error
    detail = int(32 * (1 - ratio))
    compared = [
        ("new_cfg", widths, [spec.stem_channels, *(b.out_channels for b in spec.blocks), spec.last_channels]),
        ("new_expansion_cfg", expansions, [block.hidden_channels // block.in_channels for block in spec.blocks]),
        ("new_lr_channels", lr_channels, [spec.lr8x.total, spec.lr16x.total]),
        ("ratio (detail width)", detail, spec.to_enc2x.total),
    ]
    for name, said, found in compared:
        if said != found:
            raise CheckpointError(
                f"{prune_info} is of another checkpoint: {name} is {said} there, the tensors have {found}"
            )
