"""Tasks of the flow export."""

from prefect import get_run_logger, task

from infra.ray_pool import run_on_ray
from infra.settings import Settings
from modnet.configs import ComputeConfig, ExportConfig
from modnet.records import ExportRecord, HostLatency
from tasks import remote
from tasks.retries import RETRIES, is_transient

TIMING_ROUNDS = 15


@task(task_run_name="export {network_id}", retry_condition_fn=is_transient, **RETRIES)
def export_network(network_id: str, config: ExportConfig, compute: ComputeConfig) -> ExportRecord:
    """ONNX and IRs of one network, on Ray; a difference beyond tolerance fails it."""
    record = run_on_ray(
        remote.export_stored,
        *(network_id, config, compute.candidate_cpus),
        cpus=compute.candidate_cpus,
        timeout_s=compute.timeout_s,
        address=Settings.from_env().ray_address,
        name=f"export {network_id}",
    )
    for form, mse in record.tune_mse.items():
        get_run_logger().info("%s %s: tune MSE %.6f", network_id, form, mse)
    for form, reason in record.refused.items():
        get_run_logger().warning("%s %s is not released: %s", network_id, form, reason)
    return record


@task(retry_condition_fn=is_transient, **RETRIES)
def measure_on_host(exports: list[ExportRecord], compute: ComputeConfig) -> list[HostLatency]:
    """Median latency of each FP32 IR with nothing else on the cores."""
    return run_on_ray(
        remote.measure_on_host,
        *(exports, TIMING_ROUNDS, compute.base_cpus),
        cpus=compute.base_cpus,
        timeout_s=compute.timeout_s,
        address=Settings.from_env().ray_address,
        name="measure on host",
    )
