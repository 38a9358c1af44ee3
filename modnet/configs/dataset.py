"""Where the labelled images come from."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from modnet.config import Config
from modnet.configs.form import may_be_empty, usual_when_empty
from modnet.shown_url import shown_url


class SyntheticConfig(Config):
    """Size of a rendered data set; its scores say nothing about photographs."""

    train: int = Field(48, ge=5, le=100_000, description="Rendered training images.")
    val: int = Field(8, ge=1, le=100_000, description="Rendered validation images.")
    height: int = Field(512, ge=64, le=4096, description="Height in pixels.")
    width: int = Field(384, ge=64, le=4096, description="Width in pixels.")
    seed: int = Field(0, ge=0, lt=2**32, description="Another seed renders others.")


class DatasetConfig(Config):
    """Where the labelled images come from, and what they are for."""

    source: str = Field(
        "synthetic",
        min_length=1,
        description="synthetic (rendered, needs no network), ppm-100, an http(s):// or file:// URL, or the path of a "
        "zip on the worker's machine, laid out as docs/formats.md says.",
    )
    sha256: str | None = Field(
        None, pattern="^[0-9a-f]{64}$", description="Refuses an archive with another SHA-256 (64 hexadecimal digits)."
    )
    synthetic: Annotated[SyntheticConfig, usual_when_empty(SyntheticConfig())] = Field(
        SyntheticConfig(),
        description="Size of the data set synthetic. Other sources do not use it.",
        json_schema_extra=may_be_empty,
    )
    workload: str | None = Field(
        None, min_length=1, description="The family of networks that learns from it. Empty: the usual one."
    )

    @property
    def label(self) -> str:
        """Short name for task runs."""
        return shown_source(self.source)


def shown_source(source: str) -> str:
    """A data set's source as anybody may read it: of a URL no user, password or query, of a path its name."""
    return shown_url(source) if "://" in source else Path(source).name
