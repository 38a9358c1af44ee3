"""How much networks err, in numbers and in pictures."""

from __future__ import annotations

import time

from modnet.graph_function import TorchGraph
from modnet.pruning.complexity import complexity
from modnet.records import NetworkScores, StoredFile
from tasks.remote.node import this_node
from tasks.stored import once, put_file
from tasks.stored_network import stored_network

SHEET_IMAGES = 4


def score_network(network_id: str, key: str, cpus: int) -> NetworkScores:
    """Scores a base or a retrained candidate on `tune`, which choices read, and on `val`, which only reports.

    Args:
        key: where the scores are put (`scores_key`).
    """
    node = this_node(cpus)
    checkpoint, dataset_id = stored_network(node.store, network_id)

    def compute() -> NetworkScores:
        began = time.monotonic()
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

    return once(node.store, key, NetworkScores, compute)


def draw_sheet(base_id: str, candidate_id: str, key: str, cpus: int) -> StoredFile:
    """The first val images with what is true, and what the unpruned network and the candidate make of them.

    Args:
        key: where its StoredFile is put (`sheet_key`); the picture lies beside it.
    """
    node = this_node(cpus)

    def compute() -> StoredFile:
        graphs = {
            name: TorchGraph(node.network(one)) for name, one in (("unpruned", base_id), ("pruned", candidate_id))
        }
        data = node.data(stored_network(node.store, candidate_id)[1])
        return put_file(node.store, key.replace(".json", ".png"), data.sheet(graphs, "val", SHEET_IMAGES))

    return once(node.store, key, StoredFile, compute)
