"""Pruning in several steps."""

from typing import Self

from pydantic import Field, SerializeAsAny, model_validator

from modnet.config import Config
from modnet.configs.pruning import PruningConfig
from modnet.configs.training import RetrainConfig
from modnet.policies import STEPPED_KINDS, GlobalThresholdPolicy, stepped


class IterationConfig(Config):
    """Prune, retrain, prune the retrained network again: what was asked for is reached in several smaller steps."""

    steps: int = Field(3, ge=1, le=20, description="How often the network is pruned and retrained.")
    pruning: PruningConfig = Field(
        PruningConfig(policy=GlobalThresholdPolicy()),
        description=f"What the last step arrives at; its policy is {' or '.join(STEPPED_KINDS)}.",
    )
    retrain: SerializeAsAny[RetrainConfig] = Field(
        RetrainConfig(), description="How the network is retrained after every step."
    )
    intermediate_epochs: int | None = Field(
        None, ge=1, le=1000, description="Epochs after every step but the last. Empty: as many as after the last."
    )

    @model_validator(mode="after")
    def _divisible_policy(self) -> Self:
        stepped(self.pruning.policy)
        return self
