"""One way to prune a network: how many channels stay, and which."""

import re
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from modnet.config import Config
from modnet.configs.form import as_tabs
from modnet.configs.shape import InputShape
from modnet.policies import AdaptivePolicy, BudgetPolicy, Policy


class PruningConfig(Config):
    """One way to prune the base network: how many channels stay, and which."""

    policy: Policy = Field(
        AdaptivePolicy(), discriminator="kind", description="How many channels stay.", json_schema_extra=as_tabs
    )
    criterion: Literal["l1", "l2", "bn_scale", "geometric_median", "taylor", "random"] = Field(
        "l1", description="How the importance of a channel is measured. The most important ones stay."
    )
    aggregate: Literal["sum", "mean", "max"] = Field(
        "sum",
        description="How the scores of a group's layers become one. taylor and random do not use it: they score a "
        "group as a whole.",
    )
    channel_multiple: int = Field(
        8, ge=1, le=64, description="Widths are multiples of this. CPUs compute multiples of 8 or 16 fastest."
    )
    min_channels: int = Field(8, ge=1, le=256, description="No layer gets fewer channels than this.")
    exclude: tuple[str, ...] = Field((), description="Patterns of groups or layers that keep all channels.")
    batch_only: tuple[str, ...] = Field(
        (),
        description="Patterns of layers that first lose their instance norm and its channels, before shares, floors "
        "and limits apply. At full resolution an instance norm takes as long as the convolution before it. Excluded "
        "layers and layers with one norm stay as they are.",
    )
    taylor_images: int = Field(16, ge=1, le=10_000, description="Images of the fit split that taylor reads.")
    taylor_steps: int = Field(
        6,
        ge=1,
        le=64,
        description="How often taylor scores the channels on the way to a limit or a global threshold. Other policies"
        " score once.",
    )
    input_shape: InputShape | None = Field(
        None,
        description="Height x width of what this candidate reads, in pixels, as 480x320. It is scored, timed and "
        "released at it. Empty: as the export says, or as the images of the data set are.",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Random draws of the criterion random start from this number.")

    @model_validator(mode="before")
    @classmethod
    def _read_0_1_0(cls, given: Any) -> Any:
        """Plans, records and runs of version 0.1.0 call a budget a target."""
        policy = given.get("policy") if isinstance(given, Mapping) else None
        if isinstance(policy, Mapping) and policy.get("kind") == "target":
            return {**given, "policy": {**policy, "kind": "budget"}}
        return given

    @classmethod
    def from_word(cls, word: str, batch_only: tuple[str, ...] = ()) -> Self:
        """A way to prune in one word: `0.5/0.5`, `3.7G`, `1.34M`, `3.7G+1.34M`.

        Behind it may stand the shape of the input, `@480x320`, and then the criterion, `:taylor`. Without a criterion
        it is l1. A budget by Taylor is made as did best (docs/results.md): in steps, in widths that fill vectors, and
        with these `batch_only`.

        Raises:
            ValueError: it is none of these, or out of range.
        """
        sized, _, criterion = word.strip().partition(":")
        size, _, shape = sized.partition("@")
        number = r"\d{1,18}(?:\.\d+)?"
        policy: Policy
        if found := re.fullmatch(rf"({number})/({number})", size):
            policy = AdaptivePolicy(backbone_threshold=float(found[1]), global_ratio=float(found[2]))
        else:
            parts = size.split("+")
            limits = {part[-1]: float(part[:-1]) for part in parts if re.fullmatch(rf"{number}[GM]", part)}
            if len(limits) != len(parts):
                raise ValueError(f"{size!r} is no way to prune")
            policy = BudgetPolicy(
                max_macs=round(limits["G"] * 1e9) if "G" in limits else None,
                max_parameters=round(limits["M"] * 1e6) if "M" in limits else None,
            )
            if criterion == "taylor":
                return cls(
                    policy=policy.model_copy(update={"floor": 0.05}),
                    criterion="taylor",
                    channel_multiple=16,
                    min_channels=16,
                    batch_only=batch_only,
                    taylor_images=32,
                    taylor_steps=8,
                    input_shape=shape or None,
                )
        return cls.model_validate({"policy": policy, "criterion": criterion or "l1", "input_shape": shape or None})

    @property
    def label(self) -> str:
        """Short name for tables and plots."""
        shown = self.policy.label if self.input_shape is None else f"{self.policy.label}@{self.input_shape}"
        return shown if self.criterion == "l1" else f"{shown} {self.criterion}"
