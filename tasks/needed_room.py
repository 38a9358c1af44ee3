"""How much room a run needs on the disks of this machine, from its settings: an upper estimate, checked before it.

Counted by the unpruned network, as no candidate is larger: its 32-bit weights are B bytes. It is the workload's, or a
smaller one that is given. On disks of others, as that of an S3 server elsewhere, nothing is checked.
"""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path

import torch

from infra.device.stores.folder_store import FolderStore
from infra.device.stores.object_store import open_store
from infra.local_stack.environments import MARKER
from infra.local_stack.services import MIN_FREE_BYTES
from infra.ray_folder import ray_folder
from infra.room import require_room
from infra.settings import Settings
from modnet.configs import DatasetConfig
from modnet.configs.search import SearchConfig
from modnet.workloads import workload_named
from tasks.configs.compress import CompressConfig

ADVICE = "remove what nothing needs any more (`modnet store tidy`), free some otherwise, or use another disk"
_RECORDS_BYTES = 2 << 20  # of one network: records, plan, plots, scores
_PER_CANDIDATE = 2.0  # times B: pruned and retrained
_STATE = 5.0  # of a training: weights, their average, the best so far, and two moments of the optimiser
_TRIED_AN_HOUR = 10  # candidates of a search, on two cores and photographs
_FORMS = 1.5  # for timing: FP32 and INT8
_RAY_BYTES = 512 << 20  # its logs, and its objects where /dev/shm is too small for them
_PIXEL_BYTES = 1.0  # of a rendered image with its matte, 0.4 as measured
_UNPACKED = 1.5  # times the archive, which holds compressed images


def _most_searched(config: SearchConfig) -> int:
    """So many candidates does a search try in its hours, roughly."""
    tried = math.ceil(_TRIED_AN_HOUR * config.hours)
    return tried if config.candidates is None else min(tried, config.candidates)


def require_room_for(config: CompressConfig, settings: Settings) -> None:
    """Refuses a run that would fill a disk of this machine.

    Raises:
        DiskFullError: says how much there is, how much is wanted, for what and where, and what to do.
    """
    require_room(needed_room(config, settings), ADVICE)


def needed_room(config: CompressConfig, settings: Settings) -> dict[str, tuple[Path, int]]:
    """Folder and bytes, by what they are for, in words."""
    network = min([network_bytes(config.dataset.workload), *_given_bytes(config.base.checkpoint)])
    dataset = dataset_bytes(config.dataset)
    candidates = len(config.pruning) if config.search is None else _most_searched(config.search)
    exported = (1 + len(config.export.targets) * (1 if config.export.turned is False else 2)) * network
    trainings = candidates + (config.base.checkpoint is None)
    stored = (
        dataset
        + (candidates + 2) * (_RECORDS_BYTES + (_PER_CANDIDATE + _FORMS) * network)  # base and start as well
        + trainings * _STATE * network
        + 2 * exported  # and the release's copy
        + candidates * network  # ONNX files of those that are refused
    )
    cached = (
        (2 + _UNPACKED) * dataset
        + (candidates + 2) * (_PER_CANDIDATE + _FORMS) * network
        + trainings * _STATE * network  # kept on this disk as well
        + 2 * exported
    )
    wanted = {
        "downloaded and unpacked files": (settings.cache_folder, int(cached)),
        "files on their way": (Path(tempfile.gettempdir()), int(exported)),
    }
    if settings.ray_address is None:
        wanted["Ray"] = (ray_folder().parent, _RAY_BYTES)
    if (folder := store_disk(settings.store_url)) is not None:
        wanted["the store"] = (folder, int(stored))
    if MARKER in os.environ and folder is not None:
        wanted["the S3 server, which takes nothing below that"] = (folder, MIN_FREE_BYTES)
    return wanted


def network_bytes(workload: str | None) -> int:
    """Of the 32-bit weights of a workload's unpruned network."""
    found = workload_named(workload)
    with torch.device("meta"):
        network = found.network(found.spec.full())
    return 4 * sum(int(tensor.numel()) for tensor in network.state_dict().values())


def _given_bytes(checkpoint: str | None) -> list[int]:
    """Of the 32-bit weights of a given network at most: its file may hold them in 16 bits; none where it is no file."""
    path = Path(checkpoint or "")
    return [2 * path.stat().st_size] if path.is_file() else []


def dataset_bytes(config: DatasetConfig) -> int:
    """Of an archive; 0 of one that is elsewhere, whose download and unpacking are checked when they come."""
    if config.source == "synthetic":
        drawn = config.synthetic
        return int(_PIXEL_BYTES * (drawn.train + drawn.val) * drawn.height * drawn.width)
    path = Path(config.source.removeprefix("file://"))
    return path.stat().st_size if path.is_file() else 0


def store_disk(store_url: str) -> Path | None:
    """Where on this machine a store's objects lie; None where they lie elsewhere."""
    if MARKER in os.environ and (folder := Path(os.environ[MARKER]) / "seaweedfs").is_dir():
        return folder
    store = open_store(store_url)
    return store.folder if isinstance(store, FolderStore) else None
