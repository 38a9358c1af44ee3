"""Tasks of the flows train_baseline and prune."""

from pathlib import Path

from prefect import get_run_logger, task

from infra.ray_pool import run_on_ray
from infra.settings import Settings
from modnet.configs import BaselineConfig, ComputeConfig, PruningConfig, RetrainConfig
from modnet.records import BaseRecord, Candidate
from tasks import remote
from tasks.retries import RETRIES, is_transient


@task(task_run_name="base", retry_condition_fn=is_transient, **RETRIES)
def put_base(dataset_id: str, config: BaselineConfig, seed: int, compute: ComputeConfig) -> BaseRecord:
    """The unpruned network in the store: the given checkpoint, or one trained on Ray."""
    if config.checkpoint is not None:
        record = remote.import_base(dataset_id, Path(config.checkpoint))
    else:
        record = run_on_ray(
            remote.train_base,
            *(dataset_id, config, seed, compute.base_cpus),
            cpus=compute.base_cpus,
            timeout_s=compute.timeout_s,
            address=Settings.from_env().ray_address,
        )
    get_run_logger().info("base %s: %s", record.base_id, record.origin)
    return record


@task(
    task_run_name="prune {pruning.backbone_threshold}/{pruning.global_ratio}",
    retry_condition_fn=is_transient,
    **RETRIES,
)
def prune_base(base_id: str, pruning: PruningConfig, retrain: RetrainConfig, seed: int) -> Candidate:
    """One candidate; takes seconds, so it runs here and not on Ray."""
    candidate = remote.prune_base(base_id, pruning, retrain, seed)
    cost = candidate.complexity
    get_run_logger().info("candidate %s: %d parameters, %d MACs", candidate.candidate_id, cost.parameters, cost.macs)
    return candidate
