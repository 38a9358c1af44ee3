"""Tiny networks whose alphas differ from pixel to pixel, and inputs for them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from modnet.configs import AdaptivePolicy, PruningConfig
from modnet.export.torch_to_onnx import export_onnx
from modnet.pruning.plan import plan_pruning
from modnet.pruning.surgery import apply_plan
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from tests.unit.modnet.random_network import random_network

SIZE = 64


def tiny() -> MODNet:
    return random_network(ModnetSpec.tiny(), 0)


def odd() -> MODNet:
    """Pruned to widths that are no multiple of anything."""
    config = PruningConfig(
        policy=AdaptivePolicy(backbone_threshold=0.3, global_ratio=0.3), channel_multiple=1, min_channels=1
    )
    pruned = apply_plan(tiny(), plan_pruning(tiny(), config))
    assert any(block.hidden_channels % 2 for block in pruned.spec.blocks)
    assert pruned.spec.f2x.total % 2
    return pruned


def thin() -> MODNet:
    """One channel per detail layer: IBNorm is instance norm alone there."""
    stages = ((1, 8, 1, 1), (2, 8, 1, 2), (2, 8, 1, 2), (2, 8, 1, 2), (2, 8, 1, 2))
    return random_network(ModnetSpec.from_widths(stem=8, stages=stages, last=8, lr16x=8, lr8x=8, detail=1), 1)


@dataclass(frozen=True)
class Exported:
    """A network and its ONNX file of input size 64; both are shared by tests, which leave them as they are."""

    network: MODNet
    onnx_path: Path


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tensors this small are slower on two threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", params=[tiny, odd, thin], ids=["tiny", "odd-channels", "one-channel"])
def any_exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Each kind of network in turn."""
    make: Callable[[], MODNet] = request.param
    network = make()
    return Exported(network, export_onnx(network, tmp_path_factory.mktemp("any") / "modnet.onnx", size=SIZE))


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    network = tiny()
    return Exported(network, export_onnx(network, tmp_path_factory.mktemp("tiny") / "modnet.onnx", size=SIZE))


@pytest.fixture(scope="session")
def exported_dynamic(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The odd network; its ONNX file reads every batch and size."""
    network = odd()
    path = export_onnx(network, tmp_path_factory.mktemp("dynamic") / "modnet.onnx", size=SIZE, dynamic=True)
    return Exported(network, path)


@pytest.fixture
def network() -> MODNet:
    """A tiny network that the test may change."""
    return tiny()


@pytest.fixture
def pixels() -> list[NDArray[np.float32]]:
    """Three network inputs, (1, 3, 64, 64) in [-1, 1]."""
    generator = np.random.default_rng(0)
    return [generator.uniform(-1, 1, (1, 3, SIZE, SIZE)).astype(np.float32) for _ in range(3)]
