"""MobileNetV2 weights whose batch norms were folded away, as a backbone to train from.

Quantised networks are published so: every convolution has a bias, and no norm is left. The weights are read from a
numpy `.npz` under the names of torchvision's MobileNetV2, the bias under that of the norm which once stood there.
Training needs the norms back: in training mode, one with scale 1, mean 0 and variance 1 would shrink whatever it gets.
"""

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from modnet.backbones.mobilenet_v2 import ConvBN, InvertedResidual, MobileNetV2Backbone
from modnet.errors import CheckpointError


def load_folded_backbone(backbone: MobileNetV2Backbone, path: Path, images: Sequence[Tensor]) -> tuple[str, ...]:
    """Gives an unpruned backbone the weights in `path`, and its norms the statistics of `images`.

    Layers, whose names are given back, keep what they had where `path` has none of their names: a segmentation network
    has no last 1×1 convolution. Names of other parts, such as a classifier, are not looked at.

    Args:
        backbone: of MobileNetV2's own widths; changed in place.
        path: `.npz` of float32 arrays.
        images: some of its inputs, (B, 3, H, W) in [-1, 1].

    Raises:
        CheckpointError: unreadable, not a MobileNetV2, or of other shapes; the backbone may be half filled then.
    """
    arrays = _read(path, "features.")
    missing = []
    for layer, weight_name, bias_name in _layers(backbone):
        if weight_name not in arrays or bias_name not in arrays:
            missing.append(weight_name)
            continue
        with torch.no_grad():
            _fill(layer.conv.weight, arrays[weight_name], f"{path}: {weight_name}")
            _fill(layer.norm.bias, arrays[bias_name], f"{path}: {bias_name}")
            layer.norm.weight.fill_(1.0)
            layer.norm.running_mean.zero_()  # type: ignore[union-attr]  # torch's stubs allow it to be missing
            layer.norm.running_var.fill_(1.0 - layer.norm.eps)  # type: ignore[union-attr]
    if set(missing) - {"features.18.0.weight"}:
        raise CheckpointError(f"{path} is no MobileNetV2 of torchvision's names: it lacks {missing[:3]}")
    take_statistics(backbone, images)
    return tuple(missing)


@torch.no_grad()
def take_statistics(backbone: MobileNetV2Backbone, images: Sequence[Tensor]) -> None:
    """Gives every norm of a backbone the statistics of what it gets, and scale and bias that undo them.

    In evaluation mode the backbone computes what it did before; in training mode nearly so.
    """
    sums: dict[nn.BatchNorm2d, list[tuple[Tensor, Tensor]]] = {}
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]

    def measure(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        values = inputs[0].double()
        sums.setdefault(norm, []).append((values.mean(dim=(0, 2, 3)), values.square().mean(dim=(0, 2, 3))))

    with ExitStack() as at_the_end:
        for norm in norms:
            at_the_end.enter_context(norm.register_forward_pre_hook(measure))
        at_the_end.callback(backbone.train, backbone.training)
        backbone.eval()
        for image in images:
            backbone(image)
    for norm, moments in sums.items():
        mean = torch.stack([one for one, _ in moments]).mean(dim=0)
        variance = (torch.stack([one for _, one in moments]).mean(dim=0) - mean.square()).clamp_min(0)
        old_mean, old_variance = norm.running_mean, norm.running_var
        assert old_mean is not None
        assert old_variance is not None
        # gamma (x - m) / sqrt(v + eps) + beta is the same line through x for any (m, v).
        slope = norm.weight.double() / (old_variance.double() + norm.eps).sqrt()
        norm.bias.copy_(norm.bias.double() + slope * (mean - old_mean.double()))
        norm.weight.copy_(slope * (variance + norm.eps).sqrt())
        old_mean.copy_(mean)
        old_variance.copy_(variance)


def read_folded_classifier(path: Path, classes: int, channels: int) -> tuple[Tensor, Tensor]:
    """The weight (classes, channels) and bias (classes,) of the classifier in `path`, without TensorFlow's background.

    TensorFlow's networks of ImageNet have one class more than there are, which comes first.

    Raises:
        CheckpointError: unreadable, without a classifier, or of other shapes.
    """
    arrays = _read(path, "classifier.")
    tensors = []
    for name, shape in {"classifier.1.weight": (classes, channels), "classifier.1.bias": (classes,)}.items():
        if name not in arrays:
            raise CheckpointError(f"{path} has no classifier: it lacks {name}")
        values = arrays[name].reshape(arrays[name].shape[: len(shape)]) if arrays[name].size else arrays[name]
        tensor = torch.empty(shape)
        _fill(tensor, values[1:] if len(values) == classes + 1 else values, f"{path}: {name}")
        tensors.append(tensor)
    return tensors[0], tensors[1]


def _read(path: Path, start: str) -> dict[str, NDArray[np.float32]]:
    try:
        with path.open("rb") as file:  # numpy leaves one that it opened itself open when it is damaged
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise CheckpointError(f"{path} is one array, wanted an .npz of several")
            with archive:
                return {name: archive[name] for name in archive.files if name.startswith(start)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise CheckpointError(f"cannot read the backbone weights {path}: {error}") from error


def _layers(backbone: MobileNetV2Backbone) -> Iterator[tuple[ConvBN, str, str]]:
    yield backbone.stem, "features.0.0.weight", "features.0.1.bias"
    for number, block in enumerate(backbone.blocks, start=1):
        assert isinstance(block, InvertedResidual)
        inner = [layer for layer in (block.expand, block.depthwise) if layer is not None]
        for place, layer in enumerate(inner):
            yield layer, f"features.{number}.conv.{place}.0.weight", f"features.{number}.conv.{place}.1.bias"
        last = len(inner)
        yield block.project, f"features.{number}.conv.{last}.weight", f"features.{number}.conv.{last + 1}.bias"
    number = len(backbone.blocks) + 1
    yield backbone.last, f"features.{number}.0.weight", f"features.{number}.1.bias"


def _fill(parameter: Tensor, values: NDArray[np.float32], where: str) -> None:
    shape = tuple(parameter.shape)
    if values.shape != shape or values.dtype != np.float32 or not np.isfinite(values).all():
        raise CheckpointError(f"{where}: got {values.dtype} {values.shape}, wanted finite float32 {shape}")
    parameter.copy_(torch.from_numpy(values))
