"""How wide MODNet-ModelCompression makes each layer of a pruned MODNet.

A threshold on the spread of L1 norms decides in the backbone and lr16x, a ratio in the detail and fusion branches.
Layers are judged one by one, hidden widths fall to multiples of what the block reads, and skips go and come with the
widths: not what the policies of `modnet.pruning` do, but what ModelCompression's files mean.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from modnet.backbones.spec import BlockSpec
from modnet.errors import PruningError
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec, SplitWidth, detail_widths
from modnet.workloads.matting.published.modelcompression_info import UNPRUNED_DETAIL_WIDTH, detail_width

# The fusion branch ends in half the detail width, and an IBNorm needs a channel for each of its halves.
SMALLEST_DETAIL_WIDTH = 4
LARGEST_RATIO = 1 - SMALLEST_DETAIL_WIDTH / UNPRUNED_DETAIL_WIDTH
# In which the nearest threshold that works is looked for.
THRESHOLD_STEPS = 100


def kept_count(relative_norms: Tensor, threshold: float) -> int:
    """Filters that ModelCompression keeps of one layer: those that reach the threshold and one more, in multiples of 8.

    `relative_norms` are L1 norms of the filters, scaled to 0 … 1; (n,), n a multiple of 8. The threshold is in (0, 1].
    """
    channels = len(relative_norms)
    share = (int((relative_norms >= threshold).sum()) + 1) / channels
    # It rounds share · channels, not the count itself: of 960 filters 492 become 491.99… and so 488, not 496.
    count = share * channels
    rounded = max(8, int(count + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * count else rounded


class _BlockCounts(NamedTuple):  # before the hidden channels fall to a multiple of the inputs
    inputs: int
    hidden: int
    outputs: int


class ModelCompressionRule:
    """ModelCompression's rule on one unpruned network, whose norms are looked at once.

    Raises:
        PruningError: the network is not the published one, or a layer's norms are all equal or not finite, so that no
            threshold can tell its filters apart.
    """

    def __init__(self, network: MODNet) -> None:
        if network.spec != ModnetSpec.full():
            raise PruningError(
                "ModelCompression's rule prunes the published network alone; this one has other widths or skips"
            )
        self._unpruned = network.spec
        layers = ["backbone.stem", "backbone.last", "semantic.lr16x"]
        for index, block in enumerate(network.spec.blocks):
            judged = ("expand", "depthwise", "project") if block.expands else ("project",)
            layers += [f"backbone.blocks.{index}.{layer}" for layer in judged]
        self._relative_norms = {layer: _relative_norms(network, f"{layer}.conv") for layer in layers}

    def spec(self, *, threshold: float, ratio: float) -> ModnetSpec:
        """The network at one setting, see `prune_like_modelcompression`.

        Raises:
            PruningError: no network can work at this setting; names the layer and the nearest setting that works.
        """
        problems = []
        if problem := self._threshold_problem(threshold):
            problems.append(f"{problem}; {self._nearest_threshold(threshold)}")
        if problem := _ratio_problem(ratio):
            problems.append(f"{problem}; the nearest ratio that works is {min(LARGEST_RATIO, max(0.0, ratio)):g}")
        if problems:
            raise PruningError(f"ModelCompression's rule builds no network that works: {'. '.join(problems)}")
        return self._spec(threshold, ratio)

    def _spec(self, threshold: float, ratio: float) -> ModnetSpec:
        counts = self._blocks(threshold)
        blocks = []
        for block, (inputs, hidden, outputs) in zip(self._unpruned.blocks, counts, strict=True):
            expansion = hidden // inputs
            blocks.append(
                BlockSpec(
                    in_channels=inputs,
                    hidden_channels=expansion * inputs,
                    out_channels=outputs,
                    stride=block.stride,
                    expands=expansion > 1,
                    residual=block.stride == 1 and inputs == outputs,
                )
            )
        last = self._count("backbone.last", threshold)
        return ModnetSpec(
            stem_channels=blocks[0].in_channels,
            blocks=tuple(blocks),
            enc2x_block=self._unpruned.enc2x_block,
            enc4x_block=self._unpruned.enc4x_block,
            last_channels=last,
            squeeze_channels=last // 4,
            lr16x=SplitWidth.halves(self._count("semantic.lr16x", threshold)),
            lr8x=self._unpruned.lr8x,
            **detail_widths(detail_width(ratio)),
        )

    def _blocks(self, threshold: float) -> list[_BlockCounts]:
        counts = []
        inputs = self._count("backbone.stem", threshold)
        for index, block in enumerate(self._unpruned.blocks):
            path = f"backbone.blocks.{index}"
            hidden = inputs
            if block.expands:
                hidden = max(self._count(f"{path}.expand", threshold), self._count(f"{path}.depthwise", threshold))
            outputs = self._count(f"{path}.project", threshold)
            counts.append(_BlockCounts(inputs, hidden, outputs))
            inputs = outputs
        return counts

    def _count(self, layer: str, threshold: float) -> int:
        return kept_count(self._relative_norms[layer], threshold)

    def _threshold_problem(self, threshold: float) -> str | None:
        if not 0 < threshold <= 1:
            return f"threshold {threshold:g} is outside (0, 1]"
        broken = [(index, block) for index, block in enumerate(self._blocks(threshold)) if block.hidden < block.inputs]
        if not broken:
            return None
        index, block = broken[0]
        others = ", ".join(str(other) for other, _ in broken[1:])
        return (
            f"at threshold {threshold:g} backbone.blocks.{index} (ModelCompression's features.{index + 1}) keeps "
            f"{block.hidden} hidden channels, fewer than the {block.inputs} that it reads: expansion factor 0"
            + (f", and so do blocks {others}" if others else "")
        )

    def _nearest_threshold(self, threshold: float) -> str:
        steps = [step / THRESHOLD_STEPS for step in range(1, THRESHOLD_STEPS + 1)]
        for candidate in sorted(steps, key=lambda step: round(abs(step - min(1.0, max(0.0, threshold))), 9)):
            if self._threshold_problem(candidate) is None:
                return f"the nearest threshold that works is {candidate:g}"
        return f"no threshold in steps of {1 / THRESHOLD_STEPS:g} works"


def _relative_norms(network: MODNet, layer: str) -> Tensor:
    weight = network.get_submodule(layer).get_parameter("weight").detach().double()
    norms = weight.abs().flatten(start_dim=1).sum(dim=1)
    low, high = norms.min(), norms.max()
    if not torch.isfinite(norms).all() or low == high:
        found = f"all have the L1 norm {float(low):g}" if low == high else "their L1 norms are not finite"
        problem = f"cannot tell the filters of {layer} apart: {found}; no threshold works"
        raise PruningError(f"ModelCompression's rule {problem}")
    return (norms - low) / (high - low)


def _ratio_problem(ratio: float) -> str | None:
    if not 0 <= ratio < 1:
        return f"ratio {ratio:g} is outside [0, 1)"
    width = detail_width(ratio)
    if width < SMALLEST_DETAIL_WIDTH:
        return (
            f"at ratio {ratio:g} fusion.head_features keeps {width // 2} of {UNPRUNED_DETAIL_WIDTH // 2} channels, "
            "and its IBNorm needs one for each half"
        )
    return None
