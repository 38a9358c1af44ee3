"""PyTorch → ONNX: the deployed graph, without the two heads that only training uses."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import torch

from modnet.configs.shape import shape_of
from modnet.errors import ExportError
from modnet.export.graph_file import OUTPUTS_KEY, WORKLOAD_KEY
from modnet.files import write_atomically
from modnet.network import PrunableNetwork, folded
from modnet.targets import Shape, Size

OPSET = 11  # every OpenVINO since 2021.4 reads this graph directly
OUTPUT_NAME = "output"

# What the tracer warns of by itself: (category, start of the message, module that it blames). A warning about a line of
# this project is none of these and still shows.
_EXPECTED_WARNINGS: tuple[tuple[type[Warning], str, str], ...] = (
    # The newer exporter cannot write opset 11.
    (DeprecationWarning, "You are using the legacy TorchScript-based ONNX export", r"modnet\.export\.torch_to_onnx"),
    (DeprecationWarning, "The feature will be removed", r"torch\.onnx\."),
    # resize()'s scale factors, which are constants.
    (Warning, "torch.tensor results are registered as constants", r"torch\.nn\.functional"),
    # Instance norm's checks of its input, which pass at every size.
    (Warning, "Converting a tensor to a Python boolean", r"torch\.nn\.(functional|modules\.instancenorm)"),
    # IBNorm's instance norm has no running statistics: it reads the image's own in evaluation as well.
    (UserWarning, ".*operator 'instance_norm' is set to train=True", r"torch\.onnx\."),
)


def export_onnx(network: PrunableNetwork, path: Path, *, size: Size = 512, dynamic: bool = False) -> Path:
    """Writes the deployed graph of `network` as ONNX, opset 11; the file appears whole and checked, or not at all.

    Inputs by their names: float32 (1, C, H, W) in [-1, 1]. Output `output`, of MODNet: alpha, float32 (1, 1, H, W) in
    [0, 1]; of classifiers logits, float32 (1, classes). Where its outputs have names, these and the workload are in the
    file's metadata, see `described`. The network itself is not touched: a `folded` copy is traced. Equal networks give
    equal bytes.

    Args:
        network: may be in training mode, on any device.
        path: its folder is made when missing.
        size: height and width of the input, or the side of a square, in pixels; multiples of 32.
        dynamic: batch, height and width stay open (height and width multiples of 32), of a map as output as well.

    Raises:
        ConfigError: a side is no positive multiple of 32.
        ExportError: a weight is not finite, the conversion failed, or the file cannot be written.
    """
    shape = shape_of(size)
    _require_finite_weights(network)
    try:
        content = _described(_traced(network, shape, dynamic), network)
        onnx.checker.check_model(content, full_check=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the ONNX graph made for {path} is not valid: {error}") from error
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _require_finite_weights(network: PrunableNetwork) -> None:
    for name, tensor in network.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            count = int((~torch.isfinite(tensor)).sum())
            raise ExportError(f"{count} of {tensor.numel()} values of tensor {name!r} are infinite or not a number")


def _traced(network: PrunableNetwork, shape: Shape, dynamic: bool) -> bytes:
    model = folded(network)
    examples = tuple(torch.zeros(1, one.channels, *shape) for one in network.inputs)
    open_axes = {0: "batch", 2: "height", 3: "width"}
    with torch.inference_mode():
        of_output = {axis: name for axis, name in open_axes.items() if axis < model(*examples).dim()}
    names = [one.name for one in network.inputs]
    dynamic_axes = dict.fromkeys(names, open_axes) | {OUTPUT_NAME: of_output}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "traced.onnx"
        try:
            with _without_expected_warnings():
                torch.onnx.export(
                    model,
                    examples,
                    path,
                    dynamo=False,
                    opset_version=OPSET,
                    input_names=names,
                    output_names=[OUTPUT_NAME],
                    dynamic_axes=dynamic_axes if dynamic else None,
                )
        except RuntimeError as error:  # torch.onnx's own errors are RuntimeErrors
            raise ExportError(f"torch could not export the network at {shape[0]}×{shape[1]}: {error}") from error
        return path.read_bytes()


def _described(content: bytes, network: PrunableNetwork) -> bytes:
    if not network.output_names:
        return content
    model = onnx.load_model_from_string(content)
    onnx.helper.set_model_props(
        model, {WORKLOAD_KEY: network.workload, OUTPUTS_KEY: json.dumps(network.output_names, ensure_ascii=False)}
    )
    return bytes(model.SerializeToString(deterministic=True))


@contextmanager
def _without_expected_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        for category, message, module in _EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message, category, module)
        yield
