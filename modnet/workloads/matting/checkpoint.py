"""Checkpoints of MODNet: our own, the official ones, and those of MODNet-ModelCompression."""

from pathlib import Path

from modnet import checkpoint
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.workload import MATTING


def load(path: str | Path, prune_info: str | Path | None = None) -> MODNet:
    """The network in a checkpoint of any known layout, in evaluation mode on the CPU. See `read_checkpoint`."""
    return read_checkpoint(path, prune_info).network


def read_checkpoint(path: str | Path, prune_info: str | Path | None = None) -> checkpoint.Checkpoint[MODNet]:
    """Reads a checkpoint of our layout or of a published one, see `read_published`; which one is seen from its content.

    Raises:
        CheckpointError: the file is missing, cut off, of another network, holds values that are not finite, or does not
            agree with `prune_info`.
    """
    return checkpoint.read_checkpoint(Path(path), MATTING, None if prune_info is None else Path(prune_info))
