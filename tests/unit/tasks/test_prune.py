"""Where the task `base` gets the unpruned network from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from prefect.logging import disable_run_logger

from infra.device.stores.folder_store import FolderStore
from modnet.checkpoint import save_checkpoint
from modnet.configs import ComputeConfig
from modnet.errors import CheckpointError
from modnet.shipped import SHIPPED
from modnet.workloads.matting.checkpoint import load
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.weights import NAMED
from modnet.workloads.matting.workload import MATTING
from tasks.configs.baseline import BaselineConfig
from tasks.prune import put_base
from tasks.remote import node


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The path of the shipped base, where nothing is yet."""
    threads = torch.get_num_threads()
    monkeypatch.setenv("MODNET_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MODNET_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "base.safetensors"
    monkeypatch.setitem(NAMED, SHIPPED, path)
    monkeypatch.setattr(node.Node, "workload", lambda *_: MATTING)
    yield path
    torch.set_num_threads(threads)  # a node sets what it is given, for the whole process


def test_put_base_stores_the_shipped_network_by_default(shipped: Path, tmp_path: Path) -> None:
    network = MODNet(ModnetSpec.tiny())
    save_checkpoint(network, shipped, {}, half=True)
    with disable_run_logger():
        record = put_base.fn("some-data-set", BaselineConfig(), 0, ComputeConfig())
    assert record.origin == "shipped with the project"
    stored = tmp_path / "stored.safetensors"
    stored.write_bytes(FolderStore(tmp_path / "store").get(record.checkpoint.key))
    for name, tensor in load(stored).state_dict().items():
        torch.testing.assert_close(tensor, load(shipped).state_dict()[name], rtol=0, atol=0)


@pytest.mark.usefixtures("shipped")
def test_put_base_says_that_the_installation_is_broken_when_there_is_no_shipped_network() -> None:
    with disable_run_logger(), pytest.raises(CheckpointError, match="install modnet-edge again"):
        put_base.fn("some-data-set", BaselineConfig(), 0, ComputeConfig())
