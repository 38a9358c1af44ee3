"""The weight copying of MODNet-ModelCompression, rebuilt as the baseline of the ranking benchmark.

Not for use: every layer ranks its own filters, so partners keep different channels.

1. Expand and depthwise convolutions of a block choose independently: a depthwise filter meets another channel than the
   one it was trained on. Projections that a skip adds keep different channels.
2. The backbone and the semantic branch take the inputs that the convolution before them (by position in the network)
   kept, which for a projection are the depthwise one's channels.
3. The gates of squeeze-and-excitation keep rows by their own norms, not those of the features that they scale.
4. Detail and fusion branches choose their inputs by the norms of their own input slices, across concatenations; the
   channels of the image can go.
5. The batch norm of an IBNorm keeps its first parameters, whichever channels stayed, and channels change halves.

Biases and the backbone's batch norms follow their filters. It copies at ratio 0.5 and thresholds up to 0.5 only;
here every setting goes at which its rule builds a network.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from modnet.errors import PruningError
from modnet.pruning.cost import cost_model
from modnet.workloads.matting.network.groups import channel_groups
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.published.modelcompression_rule import ModelCompressionRule

THRESHOLDS = tuple(step / 20 for step in range(1, 21))
RATIOS = tuple(step / 16 for step in range(16))


class Setting(NamedTuple):
    """A setting at which the published rule builds a network, and what that costs: deployed graph, 512×512."""

    threshold: float
    ratio: float
    parameters: int
    macs: int


def buildable_settings(network: MODNet) -> Iterator[Setting]:
    """Every setting of the grid at which the rule builds a network that works."""
    rule = ModelCompressionRule(network)
    for threshold in THRESHOLDS:
        costs = None
        for ratio in RATIOS:
            try:
                spec = rule.spec(threshold=threshold, ratio=ratio)
            except PruningError:
                continue
            if costs is None:  # the threshold decides about blocks and skips, the ratio about widths alone
                with torch.device("meta"):
                    without_weights = MODNet(spec)
                costs = cost_model(without_weights)
            cost = costs.cost({group.name: group.parts for group in channel_groups(spec)})
            yield Setting(threshold, ratio, cost.parameters, cost.macs)


@torch.no_grad()
def copied_network(network: MODNet, threshold: float, ratio: float) -> MODNet:
    """The pruned network with the weights copied, in evaluation mode; `network` is not touched.

    Raises:
        PruningError: the rule builds no network that works at this setting.
    """
    pruned = MODNet(ModelCompressionRule(network).spec(threshold=threshold, ratio=ratio)).eval()
    kept = _copied_backbone_and_semantic_branch(network, pruned)
    for path, module in pruned.named_modules():
        if isinstance(module, nn.Conv2d) and path.startswith(("detail.", "fusion.")):
            norms = _weight(network, path).abs().sum(dim=(0, 2, 3))
            kept[path] = _copied(network, pruned, path, inputs=_largest(norms, module.in_channels))
    for path, module in pruned.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            layer, _, half = path.rpartition(".norm")
            channels = torch.arange(module.num_features) if half else kept[f"{layer}.conv"]
            for name, tensor in module.state_dict().items():
                source = network.get_submodule(path).state_dict()[name]
                tensor.copy_(source[channels] if source.dim() else source)
    return pruned


def _copied_backbone_and_semantic_branch(network: MODNet, pruned: MODNet) -> dict[str, Tensor]:
    """Copies layer after layer; what each kept is what the next one reads."""
    kept: dict[str, Tensor] = {}

    def copy(path: str, inputs: str | None) -> str:
        kept[path] = _copied(network, pruned, path, None if inputs is None else kept[inputs])
        return path

    before = copy("backbone.stem.conv", None)
    for index, block in enumerate(pruned.spec.blocks):
        path = f"backbone.blocks.{index}"
        if block.expands:
            copy(f"{path}.expand.conv", before)
        before = copy(f"{path}.depthwise.conv", None)  # its filters have one input each
        before = copy(f"{path}.project.conv", before)
    last = copy("backbone.last.conv", before)
    squeeze = copy("semantic.squeeze_excite.squeeze", last)
    copy("semantic.squeeze_excite.excite", squeeze)
    lr16x = copy("semantic.lr16x.conv", last)
    lr8x = copy("semantic.lr8x.conv", lr16x)
    copy("semantic.head", lr8x)
    return kept


def _copied(network: MODNet, pruned: MODNet, path: str, inputs: Tensor | None) -> Tensor:
    """Copies the filters of a layer that have the largest L1 norms, and their biases.

    Args:
        network: unpruned.
        pruned: gets the copy.
        path: of a convolution or linear layer.
        inputs: indices of the input channels that are copied; None copies all.

    Returns:
        Indices of the filters, ascending.
    """
    source, layer = _weight(network, path), pruned.get_submodule(path)
    target = layer.get_parameter("weight")
    filters = _largest(source.abs().flatten(start_dim=1).sum(dim=1), len(target))
    target.copy_(source[filters] if inputs is None else source[filters][:, inputs])
    if layer.bias is not None:
        layer.get_parameter("bias").copy_(network.get_submodule(path).get_parameter("bias")[filters])
    return filters


def _weight(network: MODNet, path: str) -> Tensor:
    return network.get_submodule(path).get_parameter("weight").detach()


def _largest(norms: Tensor, count: int) -> Tensor:
    """Indices, ascending, of the `count` largest norms."""
    return norms.argsort(descending=True, stable=True)[:count].sort().values
