"""Flow export."""

from prefect import flow

from modnet.configs import ComputeConfig, ExportConfig
from modnet.errors import ExportError
from modnet.records import ExportRecord
from tasks.export import export_network


@flow(name="export")
def export(
    network_id: str, config: ExportConfig = ExportConfig(), compute: ComputeConfig = ComputeConfig()
) -> ExportRecord:
    """Exports a base or a retrained candidate to ONNX and to an OpenVINO IR for each target.

    A form that computes something else than torch, or errs too much, is refused. Without any other form the run fails.
    """
    record = export_network(network_id, config, compute)
    if record.refusal is not None:
        raise ExportError(f"{network_id} cannot be released: {record.refusal}")
    return record
