"""Which channels of a MODNet belong together, and the spec that is left when some of them go.

`channel_groups` and `with_widths` walk through the network in the same order: a group that the first declares is a
width that the second replaces.
"""

from __future__ import annotations

from collections.abc import Mapping

from modnet.pruning.groups import ChannelGroup, Member, Policy
from modnet.spec import BlockSpec, ModnetSpec, SplitWidth

BRANCH_LAYERS: tuple[tuple[str, str, Policy], ...] = (  # spec field, module path, how many channels stay by default
    ("lr16x", "semantic.lr16x", "adaptive"),
    ("lr8x", "semantic.lr8x", "keep"),
    ("to_enc2x", "detail.to_enc2x", "ratio"),
    ("enc2x", "detail.enc2x", "ratio"),
    ("to_enc4x", "detail.to_enc4x", "ratio"),
    ("enc4x", "detail.enc4x", "ratio"),
    ("hr4x", "detail.hr4x", "ratio"),
    ("hr2x", "detail.hr2x", "ratio"),
    ("detail_head", "detail.head_features", "ratio"),
    ("lr4x", "fusion.lr4x", "ratio"),
    ("f2x", "fusion.f2x", "ratio"),
    ("fusion_head", "fusion.head_features", "ratio"),
)


def channel_groups(spec: ModnetSpec) -> tuple[ChannelGroup, ...]:
    """Every channel of every tensor of `MODNet(spec)`, in groups that can only lose channels together."""
    return (*_backbone_groups(spec), *_branch_groups(spec), *_fixed_groups(spec))


def with_widths(spec: ModnetSpec, widths: Mapping[str, tuple[int, ...]]) -> ModnetSpec:
    """`spec` with the channels per part of the groups named in `widths`; the others keep theirs."""

    def total(group: str, otherwise: int) -> int:
        return sum(widths[group]) if group in widths else otherwise

    def split(group: str, otherwise: SplitWidth) -> SplitWidth:
        if group not in widths:
            return otherwise
        parts = iter(widths[group])
        batch = next(parts) if otherwise.batch else 0
        return SplitWidth(batch=batch, instance=next(parts) if otherwise.instance else 0)

    blocks: list[BlockSpec] = []
    for block, (inputs, hidden, outputs) in zip(spec.blocks, _block_group_names(spec), strict=True):
        blocks.append(
            block.model_copy(
                update={
                    "in_channels": total(inputs, block.in_channels),
                    "hidden_channels": total(hidden, block.hidden_channels),
                    "out_channels": total(outputs, block.out_channels),
                }
            )
        )
    branches: dict[str, SplitWidth | tuple[SplitWidth, ...]] = {}
    for field, path, _ in BRANCH_LAYERS:
        value = getattr(spec, field)
        if isinstance(value, tuple):
            branches[field] = tuple(split(f"{path}.{i}", width) for i, width in enumerate(value))
        else:
            branches[field] = split(path, value)
    resized = spec.model_copy(
        update={
            "stem_channels": total("backbone.stem", spec.stem_channels),
            "blocks": tuple(blocks),
            "last_channels": total("backbone.last", spec.last_channels),
            "squeeze_channels": total("semantic.squeeze", spec.squeeze_channels),
            **branches,
        }
    )
    return ModnetSpec.model_validate(resized.model_dump())  # a copy is not validated by itself


def _block_group_names(spec: ModnetSpec) -> list[tuple[str, str, str]]:
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

    def __init__(self, name: str, channels: int, policy: Policy) -> None:
        self.name, self.channels, self.policy = name, channels, policy
        self.producers: list[str] = []
        self.norms: list[Member] = []
        self.consumers: list[Member] = []

    def produced_by(self, path: str) -> None:
        self.producers.append(f"{path}.conv")
        self.norms.append(Member(f"{path}.norm"))

    def read_by(self, module: str, offset: int = 0) -> None:
        self.consumers.append(Member(module, offset))

    def group(self) -> ChannelGroup:
        return ChannelGroup(
            name=self.name,
            parts=(self.channels,),
            producers=tuple(self.producers),
            norms=tuple(self.norms),
            consumers=tuple(self.consumers),
            policy=self.policy,
        )


def _backbone_groups(spec: ModnetSpec) -> list[ChannelGroup]:
    drafts = {"backbone.stem": _Draft("backbone.stem", spec.stem_channels, "adaptive")}
    drafts["backbone.stem"].produced_by("backbone.stem")
    outputs = "backbone.stem"
    for index, (block, names) in enumerate(zip(spec.blocks, _block_group_names(spec), strict=True)):
        path = f"backbone.blocks.{index}"
        inputs, hidden, outputs = names
        if block.expands:
            drafts[hidden] = _Draft(hidden, block.hidden_channels, "adaptive")
            drafts[inputs].read_by(f"{path}.expand.conv")
            drafts[hidden].produced_by(f"{path}.expand")
        drafts[hidden].produced_by(f"{path}.depthwise")
        drafts[hidden].read_by(f"{path}.project.conv")
        if not block.residual:
            drafts[outputs] = _Draft(outputs, block.out_channels, "adaptive")
        drafts[outputs].produced_by(f"{path}.project")
        if index == spec.enc2x_block:
            drafts[outputs].read_by("detail.to_enc2x.conv")
        if index == spec.enc4x_block:
            drafts[outputs].read_by("detail.to_enc4x.conv")
    drafts[outputs].read_by("backbone.last.conv")

    last = _Draft("backbone.last", spec.last_channels, "adaptive")
    last.produced_by("backbone.last")
    last.producers.append("semantic.squeeze_excite.excite")  # its gates multiply these channels one by one
    last.read_by("semantic.squeeze_excite.squeeze")
    last.read_by("semantic.lr16x.conv")
    squeeze = _Draft("semantic.squeeze", spec.squeeze_channels, "adaptive")
    squeeze.producers.append("semantic.squeeze_excite.squeeze")
    squeeze.read_by("semantic.squeeze_excite.excite")
    return [draft.group() for draft in (*drafts.values(), last, squeeze)]


def _branch_readers(spec: ModnetSpec) -> dict[str, tuple[Member, ...]]:
    """Who reads each branch layer, and at which offset of its concatenated input."""
    return {
        "semantic.lr16x": (Member("semantic.lr8x.conv"),),
        "semantic.lr8x": (
            Member("semantic.head"),
            Member("detail.hr4x.0.conv", spec.enc4x.total),
            Member("fusion.lr4x.conv"),
        ),
        "detail.to_enc2x": (Member("detail.enc2x.conv", 3), Member("detail.hr2x.0.conv", spec.hr4x[2].total)),
        "detail.enc2x": (Member("detail.enc4x.conv"),),
        "detail.to_enc4x": (Member("detail.enc4x.conv", spec.enc2x.total),),
        "detail.enc4x": (Member("detail.hr4x.0.conv"),),
        "detail.hr4x.0": (Member("detail.hr4x.1.conv"),),
        "detail.hr4x.1": (Member("detail.hr4x.2.conv"),),
        "detail.hr4x.2": (Member("detail.hr2x.0.conv"),),
        "detail.hr2x.0": (Member("detail.hr2x.1.conv"),),
        "detail.hr2x.1": (Member("detail.hr2x.2.conv"),),
        "detail.hr2x.2": (Member("detail.hr2x.3.conv"),),
        "detail.hr2x.3": (Member("detail.head_features.conv"), Member("fusion.f2x.conv", spec.lr4x.total)),
        "detail.head_features": (Member("detail.head"),),
        "fusion.lr4x": (Member("fusion.f2x.conv"),),
        "fusion.f2x": (Member("fusion.head_features.conv"),),
        "fusion.head_features": (Member("fusion.head"),),
    }


def _branch_groups(spec: ModnetSpec) -> list[ChannelGroup]:
    readers = _branch_readers(spec)
    groups = []
    for field, field_path, policy in BRANCH_LAYERS:
        value = getattr(spec, field)
        layers = (
            [(f"{field_path}.{i}", w) for i, w in enumerate(value)]
            if isinstance(value, tuple)
            else [(field_path, value)]
        )
        for path, width in layers:
            groups.append(
                ChannelGroup(
                    name=path,
                    # A channel never crosses from the batch norm to the instance norm.
                    parts=tuple(part for part in (width.batch, width.instance) if part),
                    producers=(f"{path}.conv",),
                    norms=(Member(f"{path}.norm.batch"),) if width.batch else (),
                    consumers=readers[path],
                    policy=policy,
                )
            )
    return groups


def _fixed_groups(spec: ModnetSpec) -> list[ChannelGroup]:
    """What the outside world decides: the image's three channels and the predictions' one."""
    image = (
        Member("backbone.stem.conv"),
        Member("detail.enc2x.conv"),
        Member("detail.hr4x.0.conv", spec.enc4x.total + spec.lr8x.total),
        Member("detail.head_features.conv", spec.hr2x[3].total),
        Member("fusion.head_features.conv", spec.f2x.total),
    )
    heads = [
        ChannelGroup(name=name, parts=(1,), producers=(name,), policy="keep")
        for name in ("semantic.head", "detail.head", "fusion.head")
    ]
    return [ChannelGroup(name="image", parts=(3,), consumers=image, policy="keep"), *heads]
