"""Tasks of the flow iterate."""

from prefect import get_run_logger, task

from modnet.configs import ComputeConfig, IterationConfig
from modnet.pruning.iteration import IterationStep, iteration_steps
from modnet.records import BaseRecord, RetrainReport
from modnet.workloads import settings_named
from tasks.configs.sections import settings_as
from tasks.on_ray import recalled_or_computed
from tasks.remote import candidates
from tasks.retries import RETRIES, is_transient
from tasks.stored import get_record, this_store
from tasks.stored_dataset import read_dataset
from tasks.stored_network import base_key, pruned_id, retrained_key


@task(task_run_name="steps", retry_condition_fn=is_transient, **RETRIES)
def plan_steps(base_id: str, config: IterationConfig) -> tuple[IterationStep, ...]:
    """What each step does, which follows from the base's cost."""
    base = get_record(this_store(), base_key(base_id), BaseRecord)
    usual = settings_named(read_dataset(this_store(), base.dataset_id).workload)
    retrain = settings_as(usual.retraining, config.retrain)
    return iteration_steps(config.model_copy(update={"retrain": retrain}), base.complexity)


@task(task_run_name="step {step.number}: {step.pruning.label}", retry_condition_fn=is_transient, **RETRIES)
def take_step(parent_id: str, step: IterationStep, seed: int, compute: ComputeConfig) -> RetrainReport:
    """Prunes and retrains once on Ray; after a lost worker the next try resumes from the last saved state."""
    store = this_store()
    candidate_id = pruned_id(store, parent_id, step.pruning, step.retrain, seed)
    report = recalled_or_computed(
        *(retrained_key(candidate_id), RetrainReport, candidates.take_step, parent_id, step, seed, candidate_id),
        cpus=compute.base_cpus,
        compute=compute,
        name=f"step {step.number}",
        bar=(f"step-{candidate_id}", f"Step {step.number}"),
    )
    get_run_logger().info("candidate %s: loss %.4f", report.candidate_id, report.training.history[-1].loss)
    return report
