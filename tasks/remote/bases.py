"""The unpruned network: given, or trained from random weights or from a backbone's."""

import hashlib
from pathlib import Path
from typing import Any

import torch

from modnet.checkpoint import read_checkpoint, to_bytes
from modnet.configs import TrainingConfig
from modnet.errors import CheckpointError
from modnet.network import PrunableNetwork
from modnet.pruning.complexity import complexity
from modnet.records import BaseRecord, StoredFile, TrainingReport
from modnet.shipped import SHIPPED_ORIGIN
from tasks.remote.node import Node, this_node
from tasks.remote.training import trained
from tasks.stored import STAGE_VERSIONS, identify, once, put_file, upload
from tasks.stored_network import base_key
from tasks.training_run import start_from_backbone


def train_base(
    node: Node, dataset_id: str, config: TrainingConfig, seed: int, backbone: StoredFile | None, base_id: str
) -> BaseRecord:
    """Trains an unpruned network on the `fit` split, from random weights or from those of a stored backbone.

    `base_id` is what `trained_base_id` makes of the arguments before it.
    """
    torch.manual_seed(seed)
    workload = node.workload(dataset_id)
    data = node.data(dataset_id)
    network = workload.unpruned(data)
    if backbone is not None:
        start_from_backbone(network, workload, node.fetched(backbone), data, config, seed)
    report = trained(node, network, dataset_id, config, seed=seed, folder=f"bases/{base_id}")
    origin = f"trained in this project on data set {dataset_id}, {config.epochs} epochs"
    made = {"training": config.model_dump(mode="json"), "seed": seed} | (
        {} if backbone is None else {"backbone": {"sha256": backbone.sha256}}
    )
    return _stored_base(node, network, base_id, dataset_id, origin, made, report)


def import_backbone(path: Path) -> StoredFile:
    """Puts a backbone's weights into the store, under their digest.

    Raises:
        CheckpointError: there is no such file.
    """
    try:
        return upload(this_node(cpus=1).store, "backbones/backbone.npz", path)
    except OSError as error:
        raise CheckpointError(f"cannot read the backbone weights {path}: {error.strerror}") from error


def import_base(dataset_id: str, named: str) -> BaseRecord:
    """Puts a checkpoint of the data set's workload into the store, by its path, or a word for one of the project's own.

    Raises:
        CheckpointError: it cannot be read, or is of another workload; names both.
        ConfigError: it does not fit the data set, as where that has other classes.
    """
    node = this_node(cpus=1)
    workload = node.workload(dataset_id)
    path = workload.shipped.get(named, Path(named))
    checkpoint = read_checkpoint(path, workload)
    network, made = checkpoint.network, dict(checkpoint.provenance)
    if workload.require_fit is not None:
        workload.require_fit(network.output_names, node.data(dataset_id))
    origin = SHIPPED_ORIGIN if named in workload.shipped else f"given as {path.name}"
    weights = hashlib.sha256(to_bytes(network, {})).hexdigest()  # not the file's digest: layouts differ, weights do not
    base_id = identify(dataset=dataset_id, weights=weights, version=STAGE_VERSIONS["base"])
    return once(
        node.store,
        base_key(base_id),
        BaseRecord,
        lambda: _stored_base(node, network, base_id, dataset_id, origin, made),
    )


def _stored_base(
    node: Node,
    network: PrunableNetwork,
    base_id: str,
    dataset_id: str,
    origin: str,
    made: dict[str, Any],
    training: TrainingReport | None = None,
) -> BaseRecord:
    content = to_bytes(network, {"origin": origin})
    return BaseRecord(
        base_id=base_id,
        dataset_id=dataset_id,
        checkpoint=put_file(node.store, f"bases/{base_id}/base.safetensors", content),
        complexity=complexity(network),
        origin=origin,
        made=made,
        training=training,
    )
