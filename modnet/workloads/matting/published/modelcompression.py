"""Pruning as MODNet-ModelCompression does it, into the two files that its trainer and exporter read.

It decides widths alone and starts from random weights. Weights can be inherited instead: then our channel groups say
which channels stay, so that partners fit.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from modnet.configs import PruningConfig
from modnet.errors import CheckpointError
from modnet.files import write_atomically
from modnet.pruning.criteria import score_groups
from modnet.pruning.plan import GroupPlan, PruningPlan, best_of_each_part
from modnet.pruning.surgery import apply_plan
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.published.layout import modelcompression_state
from modnet.workloads.matting.published.modelcompression_info import prune_info
from modnet.workloads.matting.published.modelcompression_rule import ModelCompressionRule


class ModelCompressionFiles(NamedTuple):
    """Where the two files of a pruned network lie."""

    checkpoint: Path
    prune_info: Path


@dataclass(frozen=True)
class ModelCompressionPruned:
    """A network that ModelCompression's rule builds, and the setting that it was built at."""

    network: MODNet
    threshold: float
    ratio: float

    def files_in(self, folder: Path) -> ModelCompressionFiles:
        """Where `write_modelcompression_files` puts the two files."""
        stem = f"modnet_p_ratio_{self.ratio}_thresh_{self.threshold}"
        return ModelCompressionFiles(folder / f"{stem}.ckpt", folder / f"{stem}.json")

    def prune_info(self) -> str:
        """ModelCompression's JSON, character by character."""
        info = prune_info(self.network.spec, threshold=self.threshold, ratio=self.ratio)
        return json.dumps(info, separators=(",", ":"))


def prune_like_modelcompression(
    network: MODNet, *, threshold: float, ratio: float, seed: int = 0, inherit: bool = False
) -> ModelCompressionPruned:
    """The network that ModelCompression's pruner builds from `network`, which is not touched.

    Args:
        network: the published architecture, unpruned.
        threshold: relative L1 norm that filters of the backbone and of lr16x have to reach, in (0, 1].
        ratio: share of channels that detail and fusion branches lose, in [0, 1).
        inherit: start from the weights of the channels that score best instead (`inherited`).

    Raises:
        PruningError: ModelCompression would fail or build what cannot work; names the layer and the nearest setting
            that works.
    """
    threshold, ratio = float(threshold), float(ratio)  # ModelCompression writes 0.0, never 0
    spec = ModelCompressionRule(network).spec(threshold=threshold, ratio=ratio)
    pruned = inherited(network, spec) if inherit else fresh(spec, seed)
    return ModelCompressionPruned(pruned.eval(), threshold, ratio)


def write_modelcompression_files(folder: Path, pruned: ModelCompressionPruned) -> ModelCompressionFiles:
    """Writes `modnet_p_ratio_{ratio}_thresh_{threshold}.ckpt` and `.json`; equal networks give equal bytes.

    Raises:
        CheckpointError: the folder or a file cannot be written.
    """
    content = io.BytesIO()
    torch.save(modelcompression_state(pruned.network), content)
    files = pruned.files_in(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(files.checkpoint, content.getvalue())
        write_atomically(files.prune_info, pruned.prune_info().encode())
    except OSError as error:
        name = files.checkpoint.stem
        raise CheckpointError(f"cannot write {name} into {folder}: {error.strerror or error}") from error
    return files


def fresh(spec: ModnetSpec, seed: int) -> MODNet:
    """A network with random weights: Kaiming-uniform convolutions (arXiv 1502.01852), biases 0, norms 1 and 0.

    The weights follow from `seed` alone; nobody else's random numbers are touched.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = MODNet(spec)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
    return network


def inherited(network: MODNet, spec: ModnetSpec) -> MODNet:
    """`MODNet(spec)` with the weights of the channels of `network` that score best: summed L1 norms, group by group.

    `spec` is that of `network` but for narrower layers, skips and expand convolutions. What shares a group keeps the
    same channels, and none changes its half of an IBNorm; consumers take up the constants that removed channels leave
    behind. Blocks whose skip goes share no group any more. Two things that the seed's rule does have no weights to
    inherit: a skip where there was none adds the block's input, and a block whose expansion factor falls to 1 loses its
    expand convolution, so that its depthwise one reads what it never read before.
    """
    target = MODNet(spec)
    source = MODNet(_without_vanished_skips(network.spec, spec))
    source.load_state_dict(network.state_dict())
    scores = score_groups(source, PruningConfig(criterion="l1", aggregate="sum"))
    groups = {}
    for group in source.channel_groups():
        if group.prunable:
            # The last producer of a group is there in both networks; the first may be an expand convolution.
            width = len(target.get_submodule(group.producers[-1].module).get_parameter("weight"))
            kept = best_of_each_part(scores[group.name], group.parts, width)
            groups[group.name] = GroupPlan(parts=group.parts, kept=kept)
    state = apply_plan(source, PruningPlan(groups=groups), compensate=True).state_dict()
    target.load_state_dict({name: state[name] for name in target.state_dict()})
    return target


def _without_vanished_skips(unpruned: ModnetSpec, pruned: ModnetSpec) -> ModnetSpec:
    pairs = zip(unpruned.blocks, pruned.blocks, strict=True)
    blocks = [block.model_copy(update={"residual": block.residual and left.residual}) for block, left in pairs]
    return unpruned.model_copy(update={"blocks": tuple(blocks)})
