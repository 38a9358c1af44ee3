"""What a function on a node has at hand: settings, store, and what it reads from there by its name."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from infra.cache import bound_daily
from infra.device.stores.object_store import ObjectStore
from infra.settings import Settings
from modnet.checkpoint import Checkpoint, read_checkpoint
from modnet.network import PrunableNetwork
from modnet.records import Record, RungReport, StoredFile
from modnet.workload import LabelledData, Workload
from modnet.workloads import workload_named
from tasks.stored import fetch, once, this_store
from tasks.stored_dataset import open_dataset, read_dataset
from tasks.stored_network import stored_network
from tasks.training_state import StateOfTraining

logger = logging.getLogger(__name__)

Kind = TypeVar("Kind", bound=Record)


@dataclass(frozen=True)
class Node:
    """This node."""

    settings: Settings
    store: ObjectStore
    cpus: int  # what was asked of Ray; torch uses as many
    gpus: float  # share of a GPU that was asked of Ray
    batch_parts: int = 1  # pieces that a training computes each batch in

    def workload(self, dataset_id: str) -> Workload[PrunableNetwork]:
        """What a data set is of."""
        return workload_named(read_dataset(self.store, dataset_id).workload)

    def data(self, dataset_id: str) -> LabelledData:
        """A data set on this node; downloaded and extracted once."""
        self.bound_cache()
        return open_dataset(dataset_id, self.settings, self.store)

    def checkpoint(self, file: StoredFile, dataset_id: str) -> Checkpoint[PrunableNetwork]:
        """A stored network of the data set's workload."""
        return read_checkpoint(self.fetched(file), self.workload(dataset_id))

    def network(self, network_id: str) -> PrunableNetwork:
        """A base or a retrained candidate, in evaluation mode."""
        return self.checkpoint(*stored_network(self.store, network_id)).network

    def fetched(self, file: StoredFile) -> Path:
        """A verified local copy of a stored file; fetched once."""
        self.bound_cache()
        return fetch(self.store, file, self.settings.cache_folder / "objects")

    def bound_cache(self) -> None:
        """Removes what nobody on this node has used for long, once a day; what hinders it is said, and no more."""
        try:
            for entry in bound_daily(self.settings.cache_folder):
                logger.info("removed from the cache, as nobody used it lately: %s", entry)
        except OSError as error:
            logger.warning("the cache was not tidied: %s", error)


def this_node(cpus: int, gpus: float = 0.0, store_wait_s: float | None = None, batch_parts: int = 1) -> Node:
    """The node that this runs on; torch uses the CPUs that were asked of Ray."""
    torch.set_num_threads(cpus)
    return Node(Settings.from_env(), this_store(store_wait_s), cpus, gpus, batch_parts)


def answered(
    key: str,
    kind: type[Kind],
    function: Callable[..., Kind],
    args: Sequence[Any],
    cpus: int,
    gpus: float | None = None,
    store_wait_s: float | None = None,
    batch_parts: int = 1,
) -> Kind:
    """The record at `key`, which `function(node, *args)` of this folder makes where it is not there already.

    CPUs and, of a training alone, the share of a GPU are what was asked of Ray. A training keeps its state beside the
    key.
    """
    node = this_node(cpus, gpus or 0.0, store_wait_s, batch_parts)
    record = once(node.store, key, kind, lambda: function(node, *args))
    if gpus is not None and not isinstance(
        record, RungReport
    ):  # until the record is written, nothing else is left of it
        StateOfTraining(node.settings, key.rpartition("/")[0]).forget()
    return record
