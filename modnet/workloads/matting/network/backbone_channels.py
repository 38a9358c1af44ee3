"""Which channels of a MobileNetV2 backbone belong together, whatever stands behind it.

`backbone_groups` and `backbone_widths` walk through the blocks in the same order: a group that the first declares is a
width that the second replaces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modnet.network import ChannelGroup, Consumer, Producer
from modnet.workloads.matting.network.spec import BackboneSpec

BlockReaders = Mapping[int, Consumer]
"""Index of a block → the layer outside the backbone that reads its output."""


def backbone_groups(
    spec: BackboneSpec,
    *,
    block_readers: BlockReaders | None = None,
    last_gates: Sequence[Producer] = (),
    last_readers: Sequence[Consumer],
) -> list[ChannelGroup]:
    """The groups of a backbone that the network holds as its module `backbone`.

    Args:
        spec: the backbone's widths.
        block_readers: which blocks are read from outside, and by what.
        last_gates: layers whose outputs multiply the last convolution's channels one by one.
        last_readers: what reads the last convolution.
    """
    drafts = {"backbone.stem": _Draft("backbone.stem", spec.stem_channels)}
    drafts["backbone.stem"].produced_by("backbone.stem")
    outputs = "backbone.stem"
    for index, (block, names) in enumerate(zip(spec.blocks, _block_group_names(spec), strict=True)):
        path = f"backbone.blocks.{index}"
        inputs, hidden, outputs = names
        if block.expands:
            drafts[hidden] = _Draft(hidden, block.hidden_channels)
            drafts[inputs].read_by(f"{path}.expand.conv")
            drafts[hidden].produced_by(f"{path}.expand")
        drafts[hidden].produced_by(f"{path}.depthwise")
        drafts[hidden].read_by(f"{path}.project.conv")
        if not block.residual:
            drafts[outputs] = _Draft(outputs, block.out_channels)
        drafts[outputs].produced_by(f"{path}.project")
        if block_readers is not None and index in block_readers:
            drafts[outputs].consumers.append(block_readers[index])
    drafts[outputs].read_by("backbone.last.conv")

    last = _Draft("backbone.last", spec.last_channels)
    last.produced_by("backbone.last")
    last.producers.extend(last_gates)
    last.consumers.extend(last_readers)
    return [draft.group() for draft in (*drafts.values(), last)]


def backbone_widths(spec: BackboneSpec, widths: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """The fields of `spec` that change when the groups named in `widths` have these channels."""

    def total(group: str, otherwise: int) -> int:
        return sum(widths[group]) if group in widths else otherwise

    return {
        "stem_channels": total("backbone.stem", spec.stem_channels),
        "blocks": tuple(
            block.model_copy(
                update={
                    "in_channels": total(inputs, block.in_channels),
                    "hidden_channels": total(hidden, block.hidden_channels),
                    "out_channels": total(outputs, block.out_channels),
                }
            )
            for block, (inputs, hidden, outputs) in zip(spec.blocks, _block_group_names(spec), strict=True)
        ),
        "last_channels": total("backbone.last", spec.last_channels),
    }


def _block_group_names(spec: BackboneSpec) -> list[tuple[str, str, str]]:
    """Group names of each block's input, hidden and output channels.

    A block without expand convolution has its input as hidden channels; a residual block returns to its input's group.
    """
    names = []
    inputs = "backbone.stem"
    for index, block in enumerate(spec.blocks):
        hidden = f"backbone.blocks.{index}.hidden" if block.expands else inputs
        outputs = inputs if block.residual else f"backbone.blocks.{index}.output"
        names.append((inputs, hidden, outputs))
        inputs = outputs
    return names


class _Draft:
    """A group under construction: a residual stage collects members from many blocks."""

    def __init__(self, name: str, channels: int) -> None:
        self.name, self.channels = name, channels
        self.producers: list[Producer] = []
        self.consumers: list[Consumer] = []

    def produced_by(self, path: str) -> None:
        self.producers.append(Producer(f"{path}.conv", f"{path}.norm"))

    def read_by(self, module: str) -> None:
        self.consumers.append(Consumer(module))

    def group(self) -> ChannelGroup:
        return ChannelGroup(
            name=self.name,
            parts=(self.channels,),
            producers=tuple(self.producers),
            consumers=tuple(self.consumers),
        )
