"""A workload of a few layers: how bright an image is at each pixel. It holds the seam between engine and workloads."""

from __future__ import annotations

import copy
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from modnet.config import Config
from modnet.configs import RetrainConfig, SyntheticConfig, TrainingConfig, WorkloadSettings
from modnet.configs.shape import shape_of
from modnet.errors import DatasetError
from modnet.graph_function import GraphFunction, pixels_of
from modnet.network import ChannelGroup, Consumer, NetworkSpec, Producer, PrunableNetwork
from modnet.records import ImageScore, Scores
from modnet.report.pictures import SheetRow, sheet
from modnet.targets import Shape, Size
from modnet.workload import Looked, Split, Workload


class BrightnessSpec(NetworkSpec):
    features: int

    @classmethod
    def full(cls) -> Self:
        return cls(features=32)

    @classmethod
    def tiny(cls) -> Self:
        return cls(features=8)


class BrightnessPrediction(NamedTuple):
    """brightness: (B, 1, H, W) in [0, 1]."""

    brightness: Tensor


class BrightnessNetwork(PrunableNetwork):
    """Image (B, 3, H, W) in [-1, 1] → brightness (B, 1, H, W) in [0, 1]."""

    workload = "brightness"
    spec: BrightnessSpec

    def __init__(self, spec: BrightnessSpec) -> None:
        super().__init__()
        self.spec = spec
        self.conv = nn.Conv2d(3, spec.features, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(spec.features)
        self.head = nn.Conv2d(spec.features, 1, 1)

    def forward(self, image: Tensor) -> BrightnessPrediction:
        return BrightnessPrediction(self.deployed()(image))

    def deployed(self) -> nn.Module:
        return nn.Sequential(self.conv, self.norm, nn.ReLU(), self.head, nn.Sigmoid())

    def channel_groups(self) -> tuple[ChannelGroup, ...]:
        return (
            ChannelGroup("image", (3,), consumers=(Consumer("conv"),), prunable=False),
            ChannelGroup("features", (self.spec.features,), (Producer("conv", "norm"),), (Consumer("head"),)),
            ChannelGroup("brightness", (1,), producers=(Producer("head"),), prunable=False),
        )

    def resized(self, widths: Mapping[str, tuple[int, ...]]) -> Self:
        return type(self)(BrightnessSpec(features=sum(widths.get("features", (self.spec.features,)))))


class Noise(Config):
    strength: float = 0.2


class BrightnessRetraining(RetrainConfig):
    noise: Noise = Noise()


class BrightnessSettings(WorkloadSettings):
    retraining = BrightnessRetraining


SETTINGS = BrightnessSettings()


class BrightnessSample(NamedTuple):
    """image: float32 (3, S, S) in [-1, 1].  brightness: float32 (1, S, S) in [0, 1]."""

    image: Tensor
    brightness: Tensor


class DrawnImages:
    """Noise of random colours; a sample depends on (seed, epoch, index)."""

    def __init__(self, count: int, size: Size = 64, seed: int = 0, noise: float = 0.2) -> None:
        self.count, self.seed, self.noise, self.epoch = count, seed, noise, 0
        self.folder, self.files, self.shape = Path(), (), shape_of(size)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def divided(self, parts: int) -> Self:
        return copy.copy(self)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> BrightnessSample:
        generator = torch.Generator().manual_seed(hash((self.seed, self.epoch, index)))
        colour = torch.rand(3, 1, 1, generator=generator)
        image = (colour + self.noise * torch.rand(3, *self.shape, generator=generator)).clamp(0, 1)
        return BrightnessSample(2 * image - 1, image.mean(dim=0, keepdim=True))


def brightness_loss(prediction: BrightnessPrediction, batch: BrightnessSample) -> dict[str, Tensor]:
    return {"brightness": F.mse_loss(prediction.brightness, batch.brightness)}


def brightness_error(network: PrunableNetwork, batch: Sequence[Tensor]) -> Tensor:
    """Mean squared error of each image: (B,)."""
    image, brightness = batch
    errors: Tensor = (network.deployed()(image) - brightness).square().mean(dim=(1, 2, 3))
    return errors


class Drawings:
    """A data set whose only file says how many images each split has."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "drawings.json"
        try:
            self.counts: dict[str, int] = json.loads(self.file.read_text())
        except OSError as error:
            raise DatasetError(f"{folder} holds no drawings.json") from error

    def names(self, split: Split) -> list[str]:
        return [f"{split}-{position}" for position in range(self.counts[split])]

    def files(self, split: Split, position: int) -> tuple[Path, ...]:
        return (self.file,)

    def look(self, split: Split, position: int) -> Looked:
        sample = self.sample(split, position, 64)
        image, brightness = ((one[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8) for one in sample)
        return Looked(image, brightness[..., 0])

    def input_shapes(self) -> tuple[Shape, ...]:
        return ((256, 128), (128, 256))

    def training_set(self, split: Split, config: TrainingConfig, shape: Shape, seed: int) -> DrawnImages:
        noise = config.noise.strength if isinstance(config, BrightnessRetraining) else Noise().strength
        return DrawnImages(self.counts[split], shape, seed, noise)

    def sample(self, split: Split, position: int, short_side: Size) -> BrightnessSample:
        seed = ("fit", "tune", "val").index(split)
        image, brightness = DrawnImages(self.counts[split], short_side, seed)[position]
        return BrightnessSample(image[None], brightness[None])

    def pixels(self, split: Split, position: int, shape: Shape) -> NDArray[np.float32]:
        return self.sample(split, position, shape).image.numpy()

    def error(self, graph: GraphFunction, split: Split, position: int, shapes: Sequence[Shape] = ()) -> float:
        return self._errors(graph, split, position, shapes)["squared"]

    def scores(
        self, graph: GraphFunction, split: Split, shapes: Sequence[Shape] = (), *, every_error: bool = False
    ) -> Scores:
        per_image = tuple(
            ImageScore(stem=name, errors=self._errors(graph, split, position, shapes))
            for position, name in enumerate(self.names(split))
        )
        means = {name: float(np.mean([one.errors[name] for one in per_image])) for name in BRIGHTNESS.errors}
        return Scores(split=split, protocol="as drawn", images=len(per_image), errors=means, per_image=per_image)

    def sheet(self, graphs: Mapping[str, tuple[GraphFunction, Sequence[Shape]]], split: Split, count: int) -> bytes:
        rows = []
        for position, name in enumerate(self.names(split)[:count]):
            image, brightness = self.sample(split, position, 64)
            answers = [graph(image.numpy())[0, 0] for graph, _ in graphs.values()]
            rows.append(SheetRow(name, (brightness[0, 0].numpy(), *answers)))
        return sheet(rows, ("true", *graphs))

    def _errors(self, graph: GraphFunction, split: Split, position: int, shapes: Sequence[Shape]) -> dict[str, float]:
        """Images take turns in their orientation."""
        image, brightness = self.sample(split, position, shapes[position % len(shapes)] if shapes else 64)
        difference = graph(image.numpy()) - brightness.numpy()
        return {"squared": float(np.square(difference).mean()), "absolute": float(np.abs(difference).mean())}


def golden(shape: Shape) -> NDArray[np.float32]:
    """Two images, in steps of 8 bits."""
    images = np.random.default_rng(0).integers(0, 256, (2, *shape, 3)).astype(np.uint8)
    return pixels_of(images)


def draw(path: Path, config: SyntheticConfig) -> None:
    """The archive of a `Drawings`."""
    counts = {"fit": config.train, "tune": config.val, "val": config.val}
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("drawings.json"), json.dumps(counts))


BRIGHTNESS = Workload(
    name=BrightnessNetwork.workload,
    spec=BrightnessSpec,
    network=BrightnessNetwork,
    loss=brightness_loss,
    errors={"squared": "squared error", "absolute": "absolute error"},
    error=brightness_error,
    open=Drawings,
    golden=golden,
)
