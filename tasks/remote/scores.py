"""How much networks err, in numbers and in pictures."""

import time
from collections.abc import Mapping, Sequence

from modnet.configs.shape import shown
from modnet.graph_function import TorchGraph
from modnet.pruning.complexity import complexity
from modnet.records import NetworkScores, Sheet
from modnet.targets import Shape
from tasks.remote.node import Node
from tasks.stored import put_file
from tasks.stored_network import stored_network

SHEET_IMAGES = 4


def score_network(node: Node, network_id: str, shapes: Sequence[Shape]) -> NetworkScores:
    """Scores a base or a retrained candidate on `tune`, which choices read, and on `val`, which only reports.

    The shapes are those that it would be released for, the main one first; each image is read at what fits it best.
    """
    began = time.monotonic()
    checkpoint, dataset_id = stored_network(node.store, network_id)
    network = node.checkpoint(checkpoint, dataset_id).network
    graph, data = TorchGraph(network), node.data(dataset_id)
    return NetworkScores(
        network_id=network_id,
        input_shape=shown(shapes[0]),
        tune=data.scores(graph, "tune", shapes),
        val=data.scores(graph, "val", shapes, every_error=True),
        complexity=complexity(network),
        size_bytes=checkpoint.size_bytes,
        seconds=time.monotonic() - began,
    )


def draw_sheet(node: Node, networks: Mapping[str, Sequence[Shape]], titles: Sequence[str], key: str) -> Sheet:
    """The first val images with what is true, and what each network of one data set makes of them at its input shapes.

    Its record is put at `key` (`sheet_key`); the picture lies beside it.
    """
    graphs = {
        title: (TorchGraph(node.network(network_id)), shapes)
        for title, (network_id, shapes) in zip(titles, networks.items(), strict=True)
    }
    data = node.data(stored_network(node.store, next(iter(networks)))[1])
    picture = put_file(node.store, key.replace(".json", ".png"), data.sheet(graphs, "val", SHEET_IMAGES))
    return Sheet(networks=tuple(networks), picture=picture)
