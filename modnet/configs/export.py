"""Which forms of the winner are released."""

from pydantic import Field

from modnet.config import Config
from modnet.configs.shape import SQUARE, InputShape, orientations, shape_in
from modnet.targets import InputFormat, Shape, Target


class ExportConfig(Config):
    """Which forms of the winner are released."""

    targets: tuple[Target, ...] = Field(
        ("cpu-fp32", "cpu-fp16", "cpu-int8", "ncs2-fp16"),
        min_length=1,
        description="Classes of devices: what each reads is a row of modnet/targets.py.",
    )
    input_shape: InputShape | None = Field(
        None,
        description="Height x width of the input, in pixels, as 480x320: multiples of 32, at most 4096. Images are put "
        "into it as their workload says. Empty: as the data set's images are, at most 512 pixels long.",
    )
    turned: bool | None = Field(
        None,
        description="A release holds a second IR for each target, of the same shape turned, for images of the other "
        "orientation. Empty: where many images of the data set lie the other way.",
    )
    input_format: InputFormat = Field(
        "float-nchw",
        description="uint8-nhwc: the network reads the image itself, and devices compute nothing before it.",
    )
    max_output_difference: float = Field(
        1e-3,
        gt=0,
        le=1,
        description="FP32 forms may differ from torch by at most this in any value of the output, times the largest "
        "where that is above 1. Hardly trained "
        "networks reached 0.005: OpenVINO's instance norm loses digits on large flat areas.",
    )
    verify_on_legacy: bool = Field(
        False,
        description="Runs and compiles forms for old runtimes on these runtimes as well. `make legacy-runtimes` "
        "installs them.",
    )
    calibration_images: int = Field(24, ge=1, le=1000, description="Images of the fit split that calibrate INT8.")
    max_relative_error_increase: float = Field(
        0.05,
        ge=0,
        description="A form is not released if its tune error exceeds torch's by more than this share. INT8 returns "
        "layers to float until it holds.",
    )
    max_float_layers: int = Field(16, ge=0, le=1000, description="At most this many layers of INT8 return to float.")
    quantisation_aware_steps: int = Field(
        0,
        ge=0,
        le=100_000,
        description="If INT8 still exceeds the bound: steps of quantisation-aware training on the calibration images "
        "before the last attempt. 0: none.",
    )

    @property
    def shape(self) -> Shape:
        """Height and width of the input in pixels; a square of 512 where nobody has said more."""
        return shape_in(self.input_shape or SQUARE)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shape, and the same turned where a release holds both."""
        return orientations(self.shape, turned=bool(self.turned))
