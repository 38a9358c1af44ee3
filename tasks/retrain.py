"""Task of the flow retrain."""

from prefect import get_run_logger, task

from modnet.configs import ComputeConfig
from modnet.records import RetrainReport
from tasks.on_ray import recalled_or_computed
from tasks.remote import candidates
from tasks.retries import RETRIES, is_transient
from tasks.stored_network import retrained_key


@task(task_run_name="retrain {candidate_id}", retry_condition_fn=is_transient, **RETRIES)
def retrain_candidate(candidate_id: str, compute: ComputeConfig) -> RetrainReport:
    """Retrains one candidate on Ray; after a lost worker the next try resumes from the last saved state."""
    report = recalled_or_computed(
        *(retrained_key(candidate_id), RetrainReport, candidates.retrain_candidate, candidate_id),
        cpus=compute.candidate_cpus,
        compute=compute,
        name=f"retrain {candidate_id}",
        bar=(f"retrain-{candidate_id}", f"Retraining of {candidate_id}"),
    )
    get_run_logger().info("retrained %s: loss %.4f", candidate_id, report.training.history[-1].loss)
    return report
