"""Which channels of a MODNet belong together (`channel_groups`), and the spec when some of them go (`with_widths`)."""

from collections.abc import Mapping

from modnet.backbones.channels import backbone_groups, backbone_widths
from modnet.network import AdaptiveRule, ChannelGroup, Consumer, Producer
from modnet.workloads.matting.network.spec import ModnetSpec, SplitWidth

BRANCH_LAYERS: tuple[tuple[str, str, AdaptiveRule], ...] = (  # spec field, module path, what the adaptive policy does
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
    return (*_modnet_backbone_groups(spec), *_branch_groups(spec), *_fixed_groups(spec))


def with_widths(spec: ModnetSpec, widths: Mapping[str, tuple[int, ...]]) -> ModnetSpec:
    """`spec` with the channels per part of the groups named in `widths`; the others keep theirs."""

    def split(group: str, otherwise: SplitWidth) -> SplitWidth:
        if group not in widths:
            return otherwise
        parts = iter(widths[group])
        batch = next(parts) if otherwise.batch else 0
        return SplitWidth(batch=batch, instance=next(parts) if otherwise.instance else 0)

    changed = backbone_widths(spec, widths)
    changed["squeeze_channels"] = sum(widths.get("semantic.squeeze", (spec.squeeze_channels,)))
    for field, whole, _ in BRANCH_LAYERS:
        value = getattr(spec, field)
        layers = [split(path, width) for path, width in _paths(whole, value).items()]
        changed[field] = tuple(layers) if isinstance(value, tuple) else layers[0]
    return ModnetSpec.model_validate(spec.model_copy(update=changed).model_dump())  # a copy is not validated by itself


def _modnet_backbone_groups(spec: ModnetSpec) -> list[ChannelGroup]:
    """The backbone, its two taps, and squeeze-and-excitation on its end."""
    squeeze, excite = "semantic.squeeze_excite.squeeze", "semantic.squeeze_excite.excite"
    groups = backbone_groups(
        spec,
        block_readers={
            spec.enc2x_block: Consumer("detail.to_enc2x.conv"),
            spec.enc4x_block: Consumer("detail.to_enc4x.conv"),
        },
        last_gates=(Producer(excite),),
        last_readers=(Consumer(squeeze), Consumer("semantic.lr16x.conv")),
    )
    inner = ChannelGroup("semantic.squeeze", (spec.squeeze_channels,), (Producer(squeeze),), (Consumer(excite),))
    return [*groups, inner]


def _branch_readers(spec: ModnetSpec) -> dict[str, tuple[Consumer, ...]]:
    """Who reads each branch layer, and at which offset of its concatenated input."""
    return {
        "semantic.lr16x": (Consumer("semantic.lr8x.conv"),),
        "semantic.lr8x": (
            Consumer("semantic.head"),
            Consumer("detail.hr4x.0.conv", spec.enc4x.total),
            Consumer("fusion.lr4x.conv"),
        ),
        "detail.to_enc2x": (Consumer("detail.enc2x.conv", 3), Consumer("detail.hr2x.0.conv", spec.hr4x[2].total)),
        "detail.enc2x": (Consumer("detail.enc4x.conv"),),
        "detail.to_enc4x": (Consumer("detail.enc4x.conv", spec.enc2x.total),),
        "detail.enc4x": (Consumer("detail.hr4x.0.conv"),),
        "detail.hr4x.0": (Consumer("detail.hr4x.1.conv"),),
        "detail.hr4x.1": (Consumer("detail.hr4x.2.conv"),),
        "detail.hr4x.2": (Consumer("detail.hr2x.0.conv"),),
        "detail.hr2x.0": (Consumer("detail.hr2x.1.conv"),),
        "detail.hr2x.1": (Consumer("detail.hr2x.2.conv"),),
        "detail.hr2x.2": (Consumer("detail.hr2x.3.conv"),),
        "detail.hr2x.3": (Consumer("detail.head_features.conv"), Consumer("fusion.f2x.conv", spec.lr4x.total)),
        "detail.head_features": (Consumer("detail.head"),),
        "fusion.lr4x": (Consumer("fusion.f2x.conv"),),
        "fusion.f2x": (Consumer("fusion.head_features.conv"),),
        "fusion.head_features": (Consumer("fusion.head"),),
    }


def _branch_groups(spec: ModnetSpec) -> list[ChannelGroup]:
    readers = _branch_readers(spec)
    return [
        ChannelGroup(
            name=path,
            # A channel never crosses from the batch norm to the instance norm.
            parts=tuple(part for part in (width.batch, width.instance) if part),
            producers=(Producer(f"{path}.conv", f"{path}.norm.batch" if width.batch else None),),
            consumers=readers[path],
            adaptive_rule=adaptive_rule,
        )
        for field, whole, adaptive_rule in BRANCH_LAYERS
        for path, width in _paths(whole, getattr(spec, field)).items()
    ]


def _paths(whole: str, widths: SplitWidth | tuple[SplitWidth, ...]) -> dict[str, SplitWidth]:
    """The layers of a spec's field by their modules' paths."""
    return {f"{whole}.{i}": width for i, width in enumerate(widths)} if isinstance(widths, tuple) else {whole: widths}


def _fixed_groups(spec: ModnetSpec) -> list[ChannelGroup]:
    """What the outside world decides: the image's three channels and the predictions' one."""
    image = (
        Consumer("backbone.stem.conv"),
        Consumer("detail.enc2x.conv"),
        Consumer("detail.hr4x.0.conv", spec.enc4x.total + spec.lr8x.total),
        Consumer("detail.head_features.conv", spec.hr2x[3].total),
        Consumer("fusion.head_features.conv", spec.f2x.total),
    )
    names = ("semantic.head", "detail.head", "fusion.head")
    heads = [ChannelGroup(name, (1,), producers=(Producer(name),), prunable=False) for name in names]
    return [ChannelGroup("image", (3,), consumers=image, prunable=False), *heads]
