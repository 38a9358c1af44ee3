"""Which channels of a MobileNetV2 backbone belong together, whatever stands behind it.

A group that `backbone_groups` declares is a width that `backbone_widths` replaces.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from modnet.backbones.spec import BackboneSpec
from modnet.network import ChannelGroup, Consumer, Producer

BlockReaders = Mapping[int, Consumer]  # index of a block → the layer outside the backbone that reads its output


def backbone_groups(
    spec: BackboneSpec,
    *,
    block_readers: BlockReaders | None = None,
    last_gates: Sequence[Producer] = (),
    last_readers: Sequence[Consumer],
) -> list[ChannelGroup]:
    """The groups of a backbone that the network holds as its module `backbone`.

    Args:
        block_readers: which blocks are read from outside, and by what.
        last_gates: layers whose outputs multiply the last convolution's channels one by one.
        last_readers: what reads the last convolution.
    """
    channels = {"backbone.stem": spec.stem_channels}
    producers: dict[str, list[Producer]] = defaultdict(list)
    consumers: dict[str, list[Consumer]] = defaultdict(list)

    def add(layer: str, reads: str | None, makes: str) -> None:
        if reads is not None:
            consumers[reads].append(Consumer(f"{layer}.conv"))
        producers[makes].append(Producer(f"{layer}.conv", f"{layer}.norm"))

    add("backbone.stem", None, "backbone.stem")
    for index, (block, names) in enumerate(zip(spec.blocks, _block_group_names(spec), strict=True)):
        path = f"backbone.blocks.{index}"
        inputs, hidden, outputs = names
        channels.setdefault(hidden, block.hidden_channels)
        channels.setdefault(outputs, block.out_channels)
        if block.expands:
            add(f"{path}.expand", inputs, hidden)
        add(f"{path}.depthwise", None, hidden)  # reads what it makes, channel by channel
        add(f"{path}.project", hidden, outputs)
        if block_readers is not None and index in block_readers:
            consumers[outputs].append(block_readers[index])
    channels["backbone.last"] = spec.last_channels
    add("backbone.last", outputs, "backbone.last")
    producers["backbone.last"] += last_gates
    consumers["backbone.last"] += last_readers
    members = {name: (tuple(producers[name]), tuple(consumers[name])) for name in channels}
    return [ChannelGroup(name, (count,), *members[name]) for name, count in channels.items()]


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
