"""`modnet inspect`."""

import json

from modnet.checkpoint import read_checkpoint
from modnet.pruning.inspection import Inspection, group_changes, inspect_network
from modnet.report.inspection_tables import group_rows, layer_rows, tensor_rows, total_rows
from tasks.cli.flags import Options, Result, require_free, write_result
from tasks.cli.given import given_network
from tasks.tables import markdown_table


def inspect(options: Options) -> Result:
    """Shows channel groups, parameters and MACs of the deployed graph, before and after pruning."""
    require_free(options, options.picture)
    workload, checkpoint = given_network(options.checkpoint, options.prune_info)
    network = inspect_network(checkpoint.network, options.size)
    earlier = None
    if options.against is not None:
        earlier = read_checkpoint(options.against, workload).network
    elif (widths := checkpoint.provenance.get("parent_spec")) is not None:  # before pruning
        earlier = workload.network(workload.spec.from_json(json.dumps(widths)))
    before = None if earlier is None else inspect_network(earlier, options.size)
    if options.picture is not None:
        from modnet.report.channel_chart import channel_chart  # with matplotlib

        write_result(options.picture, channel_chart(network, before))
    if options.json:
        return {**_described(network, before), "spec": checkpoint.network.spec.model_dump()}
    tables = [total_rows(network, before), group_rows(network, before), layer_rows(network, before)]
    if options.tensors:
        tables.append(tensor_rows(network, before))
    return {"table": "\n\n".join(markdown_table(rows) for rows in tables)}


def _described(network: Inspection, before: Inspection | None) -> Result:
    described: Result = {
        **_measured(network),
        "groups": {
            name: {
                "parts": group.parts,
                "prunable": group.prunable,
                "layers": [producer.module for producer in group.producers],
                "read_by": [consumer.module for consumer in group.consumers],
                "tensors": [
                    {
                        "tensor": piece.tensor,
                        "axis": piece.axis,
                        "start": piece.positions[0],
                        "length": len(piece.positions),
                    }
                    for piece in network.tensors[name]
                ],
            }
            for name, group in network.groups.items()
        },
    }
    if before is not None:
        described["before"] = _measured(before)
        described["changes"] = {
            change.name: {"before": change.before, "after": change.after} for change in group_changes(before, network)
        }
    return described


def _measured(network: Inspection) -> Result:
    return {
        **network.total._asdict(),
        "branches": {name: cost._asdict() for name, cost in network.branches.items()},
        "layers": {path: cost._asdict() for path, cost in network.layers.items()},
        "tensors": network.shapes,
    }
