"""What a pruning config means for one network: the channels that stay, group by group."""

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from itertools import accumulate
from typing import Any, Self

import torch
from pydantic import BaseModel, Field, PositiveInt, ValidationError, model_validator
from torch import Tensor, nn

from modnet.configs import PruningConfig
from modnet.errors import PruningError
from modnet.network import ChannelGroup, PrunableNetwork
from modnet.policies.cost import Widths
from modnet.policies.layer_ratios import matching
from modnet.policies.policy import AllowedWidths, MeasuredLatency, Prunable, split_by_parts
from modnet.pruning.cost import cost_model
from modnet.pruning.criteria import Scores, score_groups
from modnet.pruning.remarks import remarks_on
from modnet.pruning.traced_network import TracedNetwork

MeasureLatency = Callable[[Sequence[PrunableNetwork]], Sequence[float]]
"""Networks → their median latencies in milliseconds, measured interleaved, in any state of their weights."""


class GroupPlan(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """The channels of one group that stay.

    Attributes:
        parts: channels of each part before pruning; only the first, to whose norm the weights belong, must keep one.
        kept: indices of the channels that stay, ascending, counted over all parts.
        scores: of every channel, as the criterion gave them; empty when the plan was not made from scores.
        asked: channels that the policy alone would have kept, without floor, minimum and multiple; None where it does
            not speak of groups.
    """

    parts: tuple[int, ...] = Field(min_length=1)
    kept: tuple[int, ...]
    scores: tuple[float, ...] = ()
    asked: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if list(self.kept) != sorted(set(self.kept)):
            raise ValueError("kept channels must be ascending and different")
        if self.kept and not 0 <= self.kept[0] <= self.kept[-1] < sum(self.parts):
            raise ValueError(f"kept channels {self.kept[0]}..{self.kept[-1]} are outside 0..{sum(self.parts) - 1}")
        if self.widths[0] == 0:
            raise ValueError(f"the first part must keep a channel, got {self.widths} of {self.parts}")
        if len(self.scores) not in (0, sum(self.parts)):
            raise ValueError(f"got {len(self.scores)} scores, wanted none or {sum(self.parts)}")
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each part after pruning."""
        ends = zip(self.parts, accumulate(self.parts), strict=True)
        return tuple(sum(end - part <= channel < end for channel in self.kept) for part, end in ends)


class Traced(BaseModel, frozen=True, extra="forbid"):
    """How the groups of a network that declares none were found.

    Attributes:
        inputs: shapes of the example inputs.
        keep_unknown: channels were kept that an operation touches which was not followed.
    """

    inputs: tuple[tuple[PositiveInt, ...], ...] = Field(min_length=1)
    keep_unknown: bool


class PruningPlan(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Kept channels of every group of one network; replaying it gives the identical smaller network.

    Attributes:
        config: what was asked; None for a plan made in another way.
        traced: how its groups were found; None where the network declares them.
        groups: by name; a group that is not named keeps every channel.
        network_sha256: digest of the weights that the plan was made for (`network_digest`); None fits any weights.
        parameters, macs: of the deployed graph that is left, for one 512×512 image; for the example inputs if traced.
        latency: where the policy measured.
        remarks: where the plan is not what was asked, and why; for people.
        versions: of what made the plan.
    """

    groups: dict[str, GroupPlan]
    config: PruningConfig | None = None
    traced: Traced | None = None
    network_sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    parameters: int | None = Field(None, ge=0)
    macs: int | None = Field(None, ge=0)
    latency: MeasuredLatency | None = None
    remarks: tuple[str, ...] = ()
    versions: dict[str, str] = {}

    def removed(self) -> dict[str, Tensor]:
        """Group name → bool (channels,), True for a channel that goes."""
        masks = {}
        for name, group in self.groups.items():
            masks[name] = torch.ones(sum(group.parts), dtype=torch.bool)
            masks[name][list(group.kept)] = False
        return masks

    def to_json(self) -> str:
        """JSON that `from_json` reads back to an equal plan; carries its own digest."""
        content = self.model_dump(mode="json")
        return json.dumps({"sha256": _content_digest(content), "plan": content})

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "the plan") -> Self:
        """Reads a plan.

        Raises:
            PruningError: cut off, not a plan, edited since it was written, or of another version; names the offending
                fields, and what wrote them.
        """
        try:
            document = json.loads(text)
            sha256, content = document["sha256"], dict(document["plan"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise PruningError(f"{where} is not a pruning plan, or was cut off: {error!r}") from error
        if _content_digest(content) != sha256:
            raise PruningError(f"{where} was changed after it was written: its content has not the digest {sha256!r}")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'plan'}: {e['msg']}" for e in error.errors()[:5])
            raise PruningError(
                f"{where} is not a pruning plan of modnet-edge {version('modnet-edge')}: {problems} "
                f"(it was written by {content.get('versions')})"
            ) from error


def plan_pruning(
    model: PrunableNetwork,
    config: PruningConfig,
    *,
    scores: Scores | None = None,
    measure_latency: MeasureLatency | None = None,
) -> PruningPlan:
    """Decides which channels of `model` stay; the model itself is not touched.

    How many stay is said by the config's policy; which ones by score, within each part of a group. What `batch_only`
    names has lost its instance norm's channels before, whatever they score.

    Args:
        scores: what `taylor` found; None scores the weights by the config's criterion.
        measure_latency: needed by the latency policy alone.

    Raises:
        PruningError: a pattern that names nothing, a budget that cannot be met, a criterion or policy without what it
            needs, or groups that do not account for all channels.
        UnsteadyLatencyError: what the latency policy found was too slow whenever it was measured again.
    """
    prunable = [group for group in model.channel_groups() if group.prunable]
    if scores is None:
        scores = score_groups(model, config)
    _require_scores(prunable, scores)
    excluded, batch_only = (
        {group.name for pattern in patterns for group in matching(prunable, pattern)}
        for patterns in (config.exclude, config.batch_only)
    )
    narrowed = batch_only - excluded  # before any policy takes its share
    remaining = {group.name: group.first_part() if group.name in narrowed else group for group in prunable}
    remaining_scores = {name: scores[name][: group.channels] for name, group in remaining.items()}
    costs = cost_model(model)
    question = Prunable(
        groups=[group for name, group in remaining.items() if name not in excluded],
        scores={name: values.tolist() for name, values in remaining_scores.items()},
        allowed=AllowedWidths(config.channel_multiple, config.min_channels),
        cost_model=costs,
        measure=None if measure_latency is None else partial(_measure_widths, model, measure_latency),
    )
    decision = config.policy.decide(question)
    groups = {
        group.name: GroupPlan(
            parts=group.parts,
            kept=best_of_each_part(
                remaining_scores[group.name],
                remaining[group.name].parts,
                decision.counts.get(group.name, remaining[group.name].channels),
            ),
            scores=tuple(float(f"{score:.6g}") for score in scores[group.name].tolist()),
            asked=decision.asked.get(group.name),
        )
        for group in prunable
    }
    cost = costs.cost({name: group.widths for name, group in groups.items()})
    return PruningPlan(
        config=config,
        traced=_traced(model),
        groups=groups,
        network_sha256=network_digest(model),
        parameters=cost.parameters,
        macs=cost.macs,
        latency=decision.latency,
        remarks=(*_idle_patterns(prunable, remaining, config), *remarks_on(question, config, decision)),
        versions={"modnet-edge": version("modnet-edge"), "torch": torch.__version__},
    )


def _traced(model: PrunableNetwork) -> Traced | None:
    if not isinstance(model, TracedNetwork):
        return None
    return Traced(inputs=tuple(tuple(one.shape) for one in model.example_inputs), keep_unknown=model.keep_unknown)


def network_digest(model: nn.Module) -> str:
    """SHA-256 over names, shapes, types and values of all tensors of a network."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _content_digest(content: dict[str, Any]) -> str:
    """SHA-256 of a plan as its file has it: a default that a later version adds must not change it."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _idle_patterns(groups: list[ChannelGroup], remaining: dict[str, ChannelGroup], config: PruningConfig) -> list[str]:
    """A sentence for each pattern of `batch_only` that took nothing away."""
    return [
        f"batch_only {pattern!r} changed nothing: what it names has no instance norm, or is excluded"
        for pattern in config.batch_only
        if all(remaining[group.name].parts == group.parts for group in matching(groups, pattern))
    ]


def _measure_widths(
    model: PrunableNetwork, measure: MeasureLatency, widths: Sequence[Widths]
) -> tuple[float, Sequence[float]]:
    unpruned, *medians = measure([model, *(model.resized(one).eval() for one in widths)])
    return unpruned, medians


def _require_scores(groups: list[ChannelGroup], scores: Scores) -> None:
    for group in groups:
        found = scores.get(group.name)
        if found is None or found.shape != (group.channels,):
            shape = None if found is None else tuple(found.shape)
            raise PruningError(f"scores of group {group.name!r}: got {shape}, wanted ({group.channels},)")
        if not found.isfinite().all():
            raise PruningError(f"scores of group {group.name!r} are not finite: are there NaN in the weights?")


def best_of_each_part(scores: Tensor, parts: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Indices, ascending, of `count` channels: those that score best within each part of a group."""
    kept: list[int] = []
    start = 0
    for part, width in zip(parts, split_by_parts(count, parts), strict=True):
        # stable: of equal scores the first channel stays, on every machine
        order = scores[start : start + part].argsort(descending=True, stable=True)
        kept += sorted(start + int(i) for i in order[:width])
        start += part
    return tuple(kept)
