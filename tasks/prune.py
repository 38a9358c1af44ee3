"""Tasks of the flows train_baseline and prune."""

import threading
from pathlib import Path

from prefect import get_run_logger, task

from modnet.configs import ComputeConfig, PruningConfig, RetrainConfig
from modnet.records import BaseRecord, Candidate
from modnet.workloads import settings_named
from tasks.configs.baseline import UNPRUNED, BaselineConfig
from tasks.configs.sections import settings_as
from tasks.on_ray import recalled_or_computed
from tasks.pruning_evidence import needs_evidence
from tasks.remote import bases, candidates
from tasks.remote.node import answered
from tasks.retries import RETRIES, is_transient
from tasks.stored import this_store
from tasks.stored_dataset import read_dataset
from tasks.stored_network import base_key, candidate_key, pruned_id, stored_network, trained_base_id

_PRUNES = threading.Lock()
"""One at a time in this process, as each holds a network, and Prefect starts all candidates at once."""


@task(task_run_name="base", retry_condition_fn=is_transient, **RETRIES)
def put_base(dataset_id: str, config: BaselineConfig, seed: int, compute: ComputeConfig) -> BaseRecord:
    """The unpruned network in the store: the shipped or given checkpoint, or one trained on Ray."""
    if config.checkpoint is not None:
        record = bases.import_base(dataset_id, config.checkpoint)
    else:
        backbone = None if config.backbone is None else bases.import_backbone(Path(config.backbone))
        usual = settings_named(read_dataset(this_store(), dataset_id).workload)
        question = (dataset_id, settings_as(usual.training, config.training), seed, backbone)
        base_id = trained_base_id(*question)
        record = recalled_or_computed(
            *(base_key(base_id), BaseRecord, bases.train_base, *question, base_id),
            cpus=compute.base_cpus,
            compute=compute,
            name="train base",
            bar=(f"train-{base_id}", "Training of the unpruned network"),
        )
    get_run_logger().info("base %s: %s", record.base_id, record.origin)
    return record


@task(task_run_name="start", retry_condition_fn=is_transient, **RETRIES)
def put_start(base_id: str, start: str) -> str | None:
    """The name in the store of the network that candidates are pruned from; None where it is the base itself."""
    if start == UNPRUNED:
        return None
    dataset_id = stored_network(this_store(), base_id)[1]
    record = bases.import_base(dataset_id, start)
    get_run_logger().info("candidates start from %s: %s", record.base_id, record.origin)
    return record.base_id


@task(task_run_name="prune {pruning.label}", retry_condition_fn=is_transient, **RETRIES)
def prune_base(
    base_id: str,
    pruning: PruningConfig,
    retrain: RetrainConfig,
    seed: int,
    compute: ComputeConfig,
    start_id: str | None = None,
) -> Candidate:
    """One candidate. Scoring weights takes seconds, so it is done here; what looks at images or measures is Ray's."""
    usual = settings_named(read_dataset(this_store(), stored_network(this_store(), base_id)[1]).workload)
    question = (start_id or base_id, pruning, settings_as(usual.retraining, retrain), seed)
    other_base = None if start_id is None else base_id
    candidate_id = pruned_id(this_store(), *question, other_base)
    key, args = candidate_key(candidate_id), (*question, candidate_id, other_base)
    if needs_evidence(pruning):
        candidate = recalled_or_computed(
            *(key, Candidate, candidates.prune_network, *args),
            cpus=compute.base_cpus,
            compute=compute,
            name=f"prune {pruning.label}",
        )
    else:
        with _PRUNES:
            candidate = answered(key, Candidate, candidates.prune_network, args, cpus=1)
    cost = candidate.complexity
    get_run_logger().info("candidate %s: %d parameters, %d MACs", candidate.candidate_id, cost.parameters, cost.macs)
    for remark in candidate.remarks:
        get_run_logger().warning("candidate %s: %s", candidate.candidate_id, remark)
    return candidate
