"""The state dicts of published MODNets: their names of our tensors, and the widths that their shapes imply.

Two layouts are known: that of the official release, and that of MODNet-ModelCompression, pruned or not.
It has other names for two layers of the official one. One table serves both, in both directions.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modnet.backbones.spec import MOBILENET_V2_STAGES, BlockSpec
from modnet.errors import CheckpointError
from modnet.workloads.matting.network.groups import BRANCH_LAYERS
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec, SplitWidth
from modnet.workloads.matting.published.modelcompression_info import require_agreement

BLOCK_STRIDES = tuple(one for _, _, repeats, first in MOBILENET_V2_STAGES for one in (first, *[1] * (repeats - 1)))

# Layers of the branches, ModelCompression's path → ours, in the order of its state dict.
_BRANCH_LAYERS = {
    "lr_branch.conv_lr16x": "semantic.lr16x",
    "lr_branch.conv_lr8x": "semantic.lr8x",
    "lr_branch.conv_lr": "semantic.head",
    "hr_branch.tohr_enc2x": "detail.to_enc2x",
    "hr_branch.conv_enc2x": "detail.enc2x",
    "hr_branch.tohr_enc4x": "detail.to_enc4x",
    "hr_branch.conv_enc4x": "detail.enc4x",
    **{f"hr_branch.conv_hr4x.{i}": f"detail.hr4x.{i}" for i in range(3)},
    **{f"hr_branch.conv_hr2x.{i}": f"detail.hr2x.{i}" for i in range(4)},
    "hr_branch.conv_hr.0": "detail.head_features",
    "hr_branch.conv_hr.1": "detail.head",
    "f_branch.conv_lr4x": "fusion.lr4x",
    "f_branch.conv_f2x": "fusion.f2x",
    "f_branch.conv_f.0": "fusion.head_features",
    "f_branch.conv_f.1": "fusion.head",
}
_HEADS = frozenset({"semantic.head", "detail.head", "fusion.head"})


def read_published(
    state: Mapping[str, Tensor], where: str, prune_info: Path | None
) -> tuple[ModnetSpec, Mapping[str, Tensor], str]:
    """Spec and tensors of an official checkpoint or of one of MODNet-ModelCompression, and which of the two it is.

    Tensors are by their published names. `prune_info` is the JSON beside a pruned checkpoint of
    MODNet-ModelCompression. The widths are read from the tensors, so it may be missing; when given it must agree with
    them.

    Raises:
        CheckpointError: no such checkpoint, or not in agreement with `prune_info`.
    """
    ours = our_state(state, where)
    spec = spec_from_shapes(ours, where)
    if prune_info is not None:
        require_agreement(spec, prune_info)
    return spec, ours, "modelcompression" if is_modelcompression_layout(state) else "official"


def is_modelcompression_layout(published: Mapping[str, Tensor]) -> bool:
    """True for ModelCompression's names, False for those of the official release."""
    return any(".cbr." in name for name in published)


def our_state(published: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """A published state dict under the names of our `MODNet`.

    Prefixes of what the network was wrapped in, such as `module.` and `model.`, are taken off. Counters of batches,
    which torch writes since 0.4.1, start at 0 where they are missing: no norm here reads them.

    Raises:
        CheckpointError: a name that no published MODNet has, or one that comes twice; `where` says whose.
    """
    names = {name: _modelcompression_name(name) for name in published}
    found = set(names.values())
    if len(found) < len(names):
        raise CheckpointError(f"{where} holds several networks, one under another prefix: save one of them alone")
    expands = [f"backbone.model.features.{i}.conv.6.weight" in found for i in range(1, len(BLOCK_STRIDES) + 1)]
    ours = _module_paths(expands)
    state, counters = {}, {}
    for name, their_name in names.items():
        if their_name.startswith("lr_branch.backbone."):
            continue  # the backbone is registered twice; both names hold one tensor
        module, _, leaf = their_name.rpartition(".")
        if module not in ours:
            raise CheckpointError(f"{where} is of another network: it holds {name!r}, which no MODNet has")
        state[f"{ours[module]}.{leaf}"] = published[name]
        if leaf == "running_mean":
            counters[f"{ours[module]}.num_batches_tracked"] = torch.tensor(0)
    return counters | state


def modelcompression_state(network: MODNet) -> dict[str, Tensor]:
    """The tensors of a network under ModelCompression's names, in its order; its backbone's under both of theirs.

    They are the network's own, not copies. The names have no "module." before them: ModelCompression's pruner writes
    none, its training does.

    Raises:
        CheckpointError: ModelCompression's code would build another network around these tensors.
    """
    state = network.state_dict()
    _require_expressible(network.spec, state)
    leaves: dict[str, list[str]] = {}
    for name in state:
        module, _, leaf = name.rpartition(".")
        leaves.setdefault(module, []).append(leaf)
    paths = _module_paths(block.expands for block in network.spec.blocks)
    named = {f"{theirs}.{leaf}": state[f"{ours}.{leaf}"] for theirs, ours in paths.items() for leaf in leaves[ours]}
    backbone = {name: tensor for name, tensor in named.items() if name.startswith("backbone.")}
    second = {f"lr_branch.{name}": tensor for name, tensor in backbone.items()}
    return backbone | second | named


def spec_from_shapes(state: Mapping[str, Tensor], where: str) -> ModnetSpec:
    """The architecture that published weights imply: widths from shapes, a skip where stride 1 meets equal widths.

    The state is under our names; `where` says whose it is, for messages.

    Raises:
        CheckpointError: a layer is missing, or the widths do not fit together.
    """

    def width(name: str) -> int:
        tensor = state.get(f"{name}.weight")
        if tensor is None or tensor.dim() == 0:
            raise CheckpointError(f"{where} is of another network: it has no weights for {name}")
        return len(tensor)

    def split(name: str) -> SplitWidth:
        channels = width(f"{name}.conv")
        batch = width(f"{name}.norm.batch") if f"{name}.norm.batch.weight" in state else 0
        return SplitWidth(batch=batch, instance=channels - batch)

    def branch_width(field: str, path: str) -> Any:
        count = {"hr4x": 3, "hr2x": 4}.get(field)
        return split(path) if count is None else tuple(split(f"{path}.{index}") for index in range(count))

    def blocks(inputs: int) -> Iterator[BlockSpec]:
        for index, stride in enumerate(BLOCK_STRIDES):
            outputs = width(f"backbone.blocks.{index}.project.conv")
            yield BlockSpec(
                in_channels=inputs,
                hidden_channels=width(f"backbone.blocks.{index}.depthwise.conv"),
                out_channels=outputs,
                stride=stride,
                expands=f"backbone.blocks.{index}.expand.conv.weight" in state,
                residual=stride == 1 and inputs == outputs,
            )
            inputs = outputs

    try:
        return ModnetSpec(
            stem_channels=width("backbone.stem.conv"),
            blocks=tuple(blocks(width("backbone.stem.conv"))),
            enc2x_block=0,
            enc4x_block=2,
            last_channels=width("backbone.last.conv"),
            squeeze_channels=width("semantic.squeeze_excite.squeeze"),
            **{field: branch_width(field, path) for field, path, _ in BRANCH_LAYERS},
        )
    except ValueError as error:
        raise CheckpointError(f"the weights in {where} imply an impossible network: {error}") from error


def _modelcompression_name(published: str) -> str:
    """A published name as ModelCompression has it, without the prefix of DataParallel, Lightning or compiling."""
    name = re.sub(r"^((module|model|_orig_mod)\.)+", "", published)
    return re.sub(r"(backbone\.model\.features\.(?:0|18))\.(\d)\.", r"\1.cbr.\2.", name)


def _module_paths(expands: Iterable[bool]) -> dict[str, str]:
    """ModelCompression's path of every module that holds tensors → ours; expand convolutions may be missing there."""
    paths = _conv_bn("backbone.model.features.0.cbr", 0, "backbone.stem")
    for index, has_expand in enumerate(expands):
        theirs, ours = f"backbone.model.features.{index + 1}.conv", f"backbone.blocks.{index}"
        layers = ("expand", "depthwise", "project") if has_expand else ("depthwise", "project")
        for place, layer in enumerate(layers):
            paths |= _conv_bn(theirs, 3 * place, f"{ours}.{layer}")  # convolution, norm, ReLU6
    paths |= _conv_bn("backbone.model.features.18.cbr", 0, "backbone.last")
    paths["lr_branch.se_block.fc.0"] = "semantic.squeeze_excite.squeeze"
    paths["lr_branch.se_block.fc.2"] = "semantic.squeeze_excite.excite"
    for theirs, ours in _BRANCH_LAYERS.items():
        if ours in _HEADS:
            paths[f"{theirs}.layers.0"] = ours
        else:
            paths |= {f"{theirs}.layers.0": f"{ours}.conv", f"{theirs}.layers.1.bnorm": f"{ours}.norm.batch"}
    return paths


def _conv_bn(theirs: str, position: int, ours: str) -> dict[str, str]:
    return {f"{theirs}.{position}": f"{ours}.conv", f"{theirs}.{position + 1}": f"{ours}.norm"}


def _require_expressible(spec: ModnetSpec, state: Mapping[str, Tensor]) -> None:
    """Refuses strides, skips and IBNorm splits that ModelCompression's layout cannot say: it writes down none."""
    if len(spec.blocks) != len(BLOCK_STRIDES) or spec_from_shapes(state, "the network") != spec:
        raise CheckpointError(
            "ModelCompression's layout has MobileNetV2's 17 blocks, with a skip wherever stride 1 meets equal widths; "
            "this network has others"
        )
    for layer in sorted(set(_BRANCH_LAYERS.values()) - _HEADS):
        channels = len(state[f"{layer}.conv.weight"])
        batch = len(state.get(f"{layer}.norm.batch.weight", ()))
        if batch == 0 or batch != channels // 2:
            half = "ModelCompression's layout gives half of a layer's channels to batch norm"
            raise CheckpointError(f"{half}; {layer} gives {batch} of {channels}")
