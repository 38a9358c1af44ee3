"""What stays when a store is tidied."""

from pydantic import Field

from modnet.config import Config


class TidyConfig(Config):
    """What stays when a store is tidied."""

    keep_runs: int = Field(
        30, ge=1, description="So many of the newest run pages stay, with every network and answer that they show."
    )
    keep_days: int = Field(
        14,
        ge=2,
        description="What was written or asked for in so many days stays. More than your longest run takes.",
    )
    dry_run: bool = Field(False, description="Only shows what would go.")
