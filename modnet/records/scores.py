"""What a network errs and costs."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from modnet.records.record import Record


class Complexity(Record):
    """Cost of the deployed graph: without the two heads that only training uses."""

    parameters: int = Field(ge=0)
    macs: int = Field(ge=0, description="multiply-accumulates of convolutions and linear layers for one image")
    size: int = Field(ge=32, description="side of the square input in pixels")


class Scored(Record):
    """Something that errs, by the errors of its workload: the first decides, and lower is better."""

    errors: dict[str, Annotated[float, Field(ge=0)]] = Field(description="by name; what was not measured is absent")

    @property
    def error(self) -> float:
        """What choices compare."""
        return next(iter(self.errors.values()))

    @model_validator(mode="before")
    @classmethod
    def _of_version_0_1(cls, content: Any) -> Any:
        """In a file of version 0.1.0 every error is a field of its own, null where it was not measured."""
        if not isinstance(content, dict) or "errors" in content:
            return content
        own = {name: value for name, value in content.items() if name in cls.model_fields}
        if own.get("protocol") == "seed":  # its name then
            own["protocol"] = "modelcompression"
        no_errors = {*own, "unknown_pixels", "unknown_images"}
        errors = {name: value for name, value in content.items() if name not in no_errors and value is not None}
        return own | {"errors": errors}


class ImageScore(Scored):
    """Errors of one image at original size."""

    stem: str


class Scores(Scored):
    """Mean errors of a network on one split under one preprocessing protocol, each image counting the same."""

    split: Literal["tune", "val", "fit", "train"]
    protocol: str = Field(description="how images became what the network reads, and its answers were brought back")
    images: int = Field(ge=1)
    per_image: tuple[ImageScore, ...]

    def images_with(self, error: str) -> int:
        """How many images have an error: what its mean is over."""
        return sum(error in one.errors for one in self.per_image)
