"""Tasks of the flow export."""

from prefect import get_run_logger, task

from infra.device.shown import shown
from modnet.configs import ComputeConfig, ExportConfig
from modnet.records import ExportRecord
from modnet.report.run_tables import int8_rows
from tasks.artifacts import create_table_artifact
from tasks.on_ray import recalled_or_computed
from tasks.remote import exports
from tasks.retries import RETRIES, is_transient
from tasks.stored import this_store
from tasks.stored_network import export_key, shaped


@task(task_run_name="export {network_id}", retry_condition_fn=is_transient, **RETRIES)
def export_network(network_id: str, config: ExportConfig, compute: ComputeConfig) -> ExportRecord:
    """ONNX and IRs of one network, on Ray; what must not be released is in the record, with the reason."""
    config = shaped(this_store(), network_id, config)
    key = export_key(this_store(), network_id, config)
    record = recalled_or_computed(
        *(key, ExportRecord, exports.export_stored, network_id, config, key),
        cpus=compute.candidate_cpus,
        compute=compute,
        name=f"export {network_id}",
    )
    for form, error in record.tune_error.items():
        get_run_logger().info("%s %s: tune error %.6f", network_id, form, error)
    for which, decision in {"": record.int8, "-turned": record.int8_turned}.items():
        if decision is not None:
            get_run_logger().info("%s cpu-int8%s: %s", network_id, which, decision.verdict)
            create_table_artifact(int8_rows(decision), key=f"int8-layers{which}", description=decision.verdict)
    for form, reason in record.refused.items():
        get_run_logger().warning("%s %s is not released: %s", network_id, form, shown(reason))
    return record


@task(task_run_name="can {network_id} be exported", retry_condition_fn=is_transient, **RETRIES)
def why_refused(network_id: str, config: ExportConfig, compute: ComputeConfig) -> str | None:
    """Why no target of a network can be released; None when one can. A refused network fails no run."""
    refusal = export_network.fn(network_id, config, compute).refusal
    if refusal is not None:
        get_run_logger().warning("%s is refused: %s", network_id, shown(refusal))
    return refusal
