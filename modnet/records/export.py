"""The deployable forms of a network, and how they came to be good enough."""

from typing import Literal

from pydantic import Field

from modnet.records.record import Record, StoredFile
from modnet.targets import InputFormat, Target

STEMS = ("modnet", "modnet-turned")
"""How names of files begin: of the forms of the main shape, and of those of the same turned."""


def _is_none(value: object) -> bool:
    return value is None


class LayerDecision(Record):
    """What became of one quantised layer, and why."""

    layer: str = Field(description="its name in the graph")
    harm: float | None = Field(
        None,
        exclude_if=_is_none,
        description="fall of the error on some tune images when only it is float; absent when nothing had to go back",
    )
    error_when_put_back: float | None = Field(
        None,
        exclude_if=_is_none,
        description="error on all of tune once it and those before it were float; absent when it stays in 8 bits",
    )


class QuantisationDecision(Record):
    """How an INT8 network came to be within the error that is allowed, or not."""

    tune_images: int = Field(ge=1)
    float_error: float = Field(ge=0, description="of the float network on tune")
    allowed_error: float = Field(ge=0)
    all_rounded_error: float = Field(ge=0, description="with every layer in 8 bits")
    error: float = Field(ge=0, description="of the network as decided")
    layers: tuple[LayerDecision, ...] = Field(description="every quantised layer; by harm, where that was measured")
    training_steps: int = Field(0, ge=0, description="of quantisation-aware training before; 0: the weights as given")

    @property
    def is_within_bound(self) -> bool:
        """Whether the network may be used."""
        return self.error <= self.allowed_error

    @property
    def float_layers(self) -> tuple[str, ...]:
        """Layers that went back to float, in the order in which they did."""
        return tuple(one.layer for one in self.layers if one.error_when_put_back is not None)

    @property
    def verdict(self) -> str:
        """One sentence of what was decided, with the numbers."""
        trained = f" after {self.training_steps} steps of training" if self.training_steps else ""
        return (
            f"tune error {self.error:.6f}{trained} with {len(self.float_layers)} of {len(self.layers)} layers in "
            f"float, allowed {self.allowed_error:.6f} (float {self.float_error:.6f}, all layers in 8 bits "
            f"{self.all_rounded_error:.6f})"
        )


class LegacyCheck(Record):
    """What an old runtime, or a compiler of one, says of an IR."""

    by: str
    status: Literal["ok", "failed", "not verified"]
    words: str = Field("", description="its own when it failed, or why it was not asked")
    mean_difference: float | None = Field(None, ge=0, description="of the output to the network's")
    max_difference: float | None = Field(None, ge=0)
    blob_bytes: int | None = Field(None, ge=1, description="what the compiler made")
    stages: int | None = Field(None, ge=1, description="steps of what the compiler made")


class GoldenFile(Record):
    """What a device compares before it measures a target: golden images, and how far it may be off."""

    name: str = Field(description="of the file, among those of the export")
    tolerance: float = Field(gt=0, lt=1e9, description="largest mean absolute difference of an image's output")
    difference: float = Field(ge=0, description="likewise, what it was where the form was made")


class ExportRecord(Record):
    """The deployable forms of one network in the store, keys by file name."""

    network_id: str
    files: dict[str, StoredFile]
    input_format: InputFormat
    inputs: dict[str, tuple[int, ...]] = Field(description="shapes that the forms read, by name")
    protocol: str = Field(description="how images became what the forms read")
    targets: tuple[Target, ...] = Field(description="those that are good enough to be released")
    refused: dict[str, str] = Field(description="the others, with the reason")
    parity: dict[str, float] = Field(
        description="mean |output - torch's output| per form, on the same pixels; of a target's two IRs the larger one"
    )
    tune_error: dict[str, float] = Field(
        description="per target, and of torch; of a target's two IRs each image is read by the one that fits it"
    )
    int8: QuantisationDecision | None = Field(None, description="which layers are in 8 bits; None without cpu-int8")
    int8_turned: QuantisationDecision | None = Field(None, description="likewise, of the IR of the turned shape")
    val: dict[str, dict[str, float]] = Field(description="errors by name of what is released, and of torch")
    legacy: dict[Target, tuple[LegacyCheck, ...]] = Field(description="empty where old runtimes were not asked")
    golden: dict[Target, GoldenFile] = Field({}, description="empty where the workload has no golden images")
    versions: dict[str, str] = Field({}, description="of the software that made the forms; `sbom.cdx.json` has it all")
    seconds: float

    def ir_files(self, target: Target) -> list[str]:
        """Names of a target's `.xml` and `.bin`, then of those of the turned shape, where there are such."""
        names = [f"{stem}-{target}.{ending}" for stem in STEMS for ending in ("xml", "bin")]
        return [name for name in names if name in self.files]

    @property
    def refusal(self) -> str | None:
        """Why nothing of the network can be released, each reason with its targets; None when a target can."""
        if self.targets:
            return None
        refused_for: dict[str, list[str]] = {}
        for target, reason in self.refused.items():
            refused_for.setdefault(reason, []).append(target)
        return "; ".join(f"{', '.join(targets)}: {reason}" for reason, targets in refused_for.items())
