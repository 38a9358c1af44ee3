"""How much networks err, in numbers and in pictures."""

from __future__ import annotations

import time

from modnet.graph_function import TorchGraph
from modnet.pruning.complexity import complexity
from modnet.records import NetworkScores, StoredFile
from tasks.remote.node import Node
from tasks.stored import put_file
from tasks.stored_network import stored_network

SHEET_IMAGES = 4


def score_network(node: Node, network_id: str) -> NetworkScores:
    """Scores a base or a retrained candidate on `tune`, which choices read, and on `val`, which only reports."""
    began = time.monotonic()
    checkpoint, dataset_id = stored_network(node.store, network_id)
    network = node.checkpoint(checkpoint, dataset_id).network
    graph, data = TorchGraph(network), node.data(dataset_id)
    return NetworkScores(
        network_id=network_id,
        tune=data.scores(graph, "tune"),
        val=data.scores(graph, "val", every_error=True),
        complexity=complexity(network),
        size_bytes=checkpoint.size_bytes,
        seconds=time.monotonic() - began,
    )


def draw_sheet(node: Node, base_id: str, candidate_id: str, key: str) -> StoredFile:
    """The first val images with what is true, and what the unpruned network and the candidate make of them.

    Args:
        key: where its StoredFile is put (`sheet_key`); the picture lies beside it.
    """
    graphs = {name: TorchGraph(node.network(one)) for name, one in (("unpruned", base_id), ("pruned", candidate_id))}
    data = node.data(stored_network(node.store, candidate_id)[1])
    return put_file(node.store, key.replace(".json", ".png"), data.sheet(graphs, "val", SHEET_IMAGES))
