"""Where a plan is not what was asked, and why: in sentences for people."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from modnet.configs import GlobalThresholdPolicy, PruningConfig
from modnet.network import ChannelGroup
from modnet.policies.policy import Decision, Prunable

_BUSY = 1.15  # medians of one network on an idle machine differ by less
_NAMED = 8


def remarks_on(prunable: Prunable, config: PruningConfig, decision: Decision) -> tuple[str, ...]:
    """What whoever asked has to know of what the config's policy decided, nothing where all went as asked."""
    groups, asked = prunable.groups, decision.asked
    if not groups:
        return ("nothing was removed: every group is excluded",)
    kept = {group.name: decision.counts.get(group.name, group.channels) for group in groups}
    said = []
    if asked:
        said += _shares(prunable, config, asked, kept)
        said += _stops(groups, config, asked, kept)
    elif all(kept[group.name] == group.channels for group in groups):
        said.append(f"nothing was removed: the network is within {config.policy.label} as it is")
    unpruned_ms = () if decision.latency is None else decision.latency.unpruned_ms
    if unpruned_ms and max(unpruned_ms) > _BUSY * min(unpruned_ms):
        said.append(
            f"the machine had other work: the unpruned network took {min(unpruned_ms):.1f} to "
            f"{max(unpruned_ms):.1f} ms while networks were measured; an idle machine may allow a larger one"
        )
    return tuple(said)


def _shares(prunable: Prunable, config: PruningConfig, asked: Mapping[str, int], kept: Mapping[str, int]) -> list[str]:
    """How much was asked to go and how much went; of a global threshold also the most that can."""
    policy, groups = config.policy, prunable.groups
    total = sum(group.channels for group in groups)
    wanted, went = (1 - sum(counts[group.name] for group in groups) / total for counts in (asked, kept))
    if not isinstance(policy, GlobalThresholdPolicy):
        is_as_asked = f"{wanted:.1%}" == f"{went:.1%}"
        return [] if is_as_asked else [f"{wanted:.1%} of {total:,} channels were asked to go, {went:.1%} went"]
    most = 1 - sum(prunable.allowed.from_floor(group, policy.floor)[0] for group in groups) / total
    weakest = min(groups, key=lambda group: max(prunable.scores[group.name]))
    best_of_weakest = max(prunable.scores[weakest.name])
    below = sum(score < best_of_weakest for group in groups for score in prunable.scores[group.name])
    return [
        f"{policy.share:.1%} of {total:,} channels were asked to go, {went:.1%} went; at most {most:.1%} can with "
        f"{_limits(config)}; without these {weakest.name} would be empty beyond {below / total:.1%}"
    ]


def _stops(
    groups: Sequence[ChannelGroup], config: PruningConfig, asked: Mapping[str, int], kept: Mapping[str, int]
) -> list[str]:
    """Which groups kept more channels than were asked for, by what, those with most of them first."""
    stopped = {group.name: reason for group in groups if (reason := _stopped_by(group, config, asked, kept))}
    if not stopped:
        return []
    order = sorted(stopped, key=lambda name: asked[name] - kept[name])
    named = ", ".join(f"{name} keeps {kept[name]} (asked {asked[name]})" for name in order[:_NAMED])
    more = f" and {len(order) - _NAMED} more, see the plan" if len(order) > _NAMED else ""
    counts = Counter(stopped.values()).items()
    by = " and ".join(f"{reason} stopped {count} {'group' if count == 1 else 'groups'}" for reason, count in counts)
    return [f"{by}: {named}{more}"]


def _stopped_by(
    group: ChannelGroup, config: PruningConfig, asked: Mapping[str, int], kept: Mapping[str, int]
) -> str | None:
    """The limit that kept channels of a group that were asked to go; None where none did, or only rounding."""
    if kept[group.name] <= asked[group.name]:
        return None
    least = {f"min_channels {config.min_channels}": config.min_channels}
    floor = getattr(config.policy, "floor", None)
    if floor is not None:
        least[f"floor {floor:g}"] = math.ceil(floor * group.channels - 1e-9)
    parts = sum(part > 0 for part in group.parts)
    least["one channel for each half of a norm" if parts > 1 else "one channel for each group"] = parts
    reason = max(least, key=lambda name: least[name])
    return reason if least[reason] > asked[group.name] else None


def _limits(config: PruningConfig) -> str:
    floor = getattr(config.policy, "floor", None)
    shown = [] if floor is None else [f"floor {floor:g}"]
    return ", ".join([*shown, f"min_channels {config.min_channels}", f"channel_multiple {config.channel_multiple}"])
