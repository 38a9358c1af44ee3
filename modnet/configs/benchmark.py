"""How long a run waits for devices."""

from collections.abc import Sequence
from typing import Self

from pydantic import Field

from modnet.config import Config
from modnet.targets import Target


class BenchmarkConfig(Config):
    """How long the run waits for devices."""

    wait_s: float = Field(300, ge=0, le=86_400, description="Longest wait for the reports of edge agents, in seconds.")
    min_reports: int = Field(0, ge=0, le=10_000, description="The run fails with fewer measured reports than this.")
    awaited_targets: tuple[Target, ...] = Field(
        ("cpu-fp32", "cpu-fp16", "cpu-int8", "cpu-fp32-dynamic"),
        description="Targets that have devices. The run waits for a measured report of each.",
    )

    def for_targets(self, targets: Sequence[str]) -> Self:
        """What is waited for of these targets alone: of each that is awaited one report, and none where none is."""
        awaited = tuple(target for target in self.awaited_targets if target in targets)
        return self.model_copy(update={"awaited_targets": awaited, "min_reports": min(self.min_reports, len(awaited))})
