"""Channel groups of any network, found by tracing it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from modnet.errors import PruningError
from modnet.network import Carrier, ChannelGroup, Consumer, Places, Producer
from modnet.pruning.channel_trace import ChannelTrace
from modnet.pruning.tracing import trace


@dataclass(frozen=True)
class Grouping:
    """Groups, and what must follow when they lose channels.

    Attributes:
        groups: in order of running; named after the first layer that makes their channels.
        sizes: (module, attribute) → the parts (group, index) whose channels it counts, each as often as it counts them.
        kept: group whose channels stay → why they do.
    """

    groups: tuple[ChannelGroup, ...]
    sizes: Mapping[tuple[str, str], tuple[tuple[str, int], ...]]
    kept: Mapping[str, str]


def groups_of(
    network: nn.Module, example_inputs: Sequence[Tensor], *, keep_unknown: bool = False
) -> tuple[ChannelGroup, ...]:
    """Groups of channels that can only be removed together, of every layer that holds channels.

    Args:
        network: convolutions, linear layers, norms, pointwise operations, pooling, means, resizing, reshaping,
            concatenation, splitting, pixel shuffle; any way that they are wired. It is not changed.
        example_inputs: what it is called with.
        keep_unknown: keep all channels that an operation touches which is not followed.

    Raises:
        PruningError: the network cannot be traced; or, without `keep_unknown`, an operation is not followed: it is
            named with its module.
    """
    return grouping_of(network, example_inputs, keep_unknown=keep_unknown).groups


def grouping_of(network: nn.Module, example_inputs: Sequence[Tensor], *, keep_unknown: bool = False) -> Grouping:
    """The groups with what else must follow, see `groups_of`."""
    found = trace(network, example_inputs)
    if found.unknown and not keep_unknown:
        raise PruningError(f"channels cannot be followed: {'; '.join(found.unknown)}")
    return _Grouper(found).grouping()


@dataclass
class _Channel:
    """Where one channel is: positions by layer, tensor and attribute."""

    made: dict[str, list[int]] = field(default_factory=dict)
    read: dict[str, list[int]] = field(default_factory=dict)
    carried: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    counted: dict[tuple[str, str], int] = field(default_factory=dict)  # (module, attribute) → how often
    why_fixed: str | None = None

    def group(self) -> object:
        """The same for channels of one group: the same layers make and read them, equally often."""
        made, read = ({name: len(places) for name, places in where.items()} for where in (self.made, self.read))
        alone = frozenset() if made or read else frozenset(self.carried)
        return (self.why_fixed is None, frozenset(made.items()), frozenset(read.items()), alone)

    def part(self) -> object:
        """The same for channels of one part of a group: the same norms hold them, and no cut lies between."""
        carried = {key: len(places) for key, places in self.carried.items()}
        return (frozenset(carried.items()), frozenset(self.counted.items()))


class _Grouper:
    def __init__(self, found: ChannelTrace) -> None:
        self._found = found
        self._channels: dict[int, _Channel] = defaultdict(_Channel)

    def grouping(self) -> Grouping:
        found = self._found
        for path, labels in found.made.items():
            for position, channel in self._each(labels):
                channel.made.setdefault(path, []).append(position)
        for path, labels in found.read.items():
            for position, channel in self._each(labels):
                channel.read.setdefault(path, []).append(position)
        layers = found.made.keys() | found.read.keys()
        for (tensor, axis), labels in found.tensors.items():
            if tensor.rpartition(".")[0] not in layers:
                for position, channel in self._each(labels):
                    channel.carried.setdefault((tensor, axis), []).append(position)
        for attribute, labels in found.sizes.items():
            for _, channel in self._each(labels):
                channel.counted[attribute] = channel.counted.get(attribute, 0) + 1
        for label, channel in self._channels.items():
            channel.why_fixed = found.labels.why_fixed(label)

        members: dict[object, list[_Channel]] = defaultdict(list)
        for channel in self._channels.values():
            members[channel.group()].append(channel)
        groups: list[ChannelGroup] = []
        kept: dict[str, str] = {}
        sizes: dict[tuple[str, str], tuple[tuple[str, int], ...]] = defaultdict(tuple)
        for channels in members.values():
            parts: dict[object, list[_Channel]] = defaultdict(list)
            for channel in channels:
                parts[channel.part()].append(channel)
            group = self._group(list(parts.values()), {group.name for group in groups})
            groups.append(group)
            if channels[0].why_fixed is not None:
                kept[group.name] = channels[0].why_fixed
            for number, part in enumerate(parts.values()):
                for attribute, times in part[0].counted.items():
                    sizes[attribute] += ((group.name, number),) * times
        return Grouping(tuple(groups), dict(sizes), kept)

    def _each(self, labels: Tensor) -> Iterable[tuple[int, _Channel]]:
        return ((place, self._channels[root]) for place, root in enumerate(self._found.labels.roots(labels).tolist()))

    def _group(self, parts: list[list[_Channel]], names: set[str]) -> ChannelGroup:
        channels = [channel for part in parts for channel in part]
        first, norms = channels[0], self._found.norms
        path = next(iter(first.made), "input" if first.read else next(iter(first.carried), ("",))[0])
        name = path
        for number in range(2, 2 + len(names)):
            if name not in names:
                break
            name = f"{path}:{number}"
        own = {norms[path] for path in first.made if path in norms}
        producers = [
            Producer(path, norms.get(path), _unless_in_row(tuple(tuple(one.made[path]) for one in channels), 0))
            for path in first.made
        ]
        consumers = []
        for path in first.read:
            offset = first.read[path][0]
            places = _unless_in_row(tuple(tuple(one.read[path]) for one in channels), offset)
            consumers.append(Consumer(path, offset if places is None else 0, places))
        carried = dict.fromkeys(key for channel in channels for key in channel.carried)
        carriers = [
            Carrier(tensor, axis, tuple(tuple(one.carried.get((tensor, axis), ())) for one in channels))
            for tensor, axis in carried
            if tensor.rpartition(".")[0] not in own
        ]
        return ChannelGroup(
            name=name,
            parts=tuple(len(part) for part in parts),
            producers=tuple(producers),
            consumers=tuple(consumers),
            carriers=tuple(carriers),
            prunable=first.why_fixed is None and bool(producers),
        )


def _unless_in_row(places: Places, offset: int) -> Places | None:
    """Places, or None where each channel has one and they follow each other from `offset` on."""
    return None if places == tuple((offset + number,) for number in range(len(places))) else places
