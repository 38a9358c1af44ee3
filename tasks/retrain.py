"""Task of the flow retrain."""

from prefect import get_run_logger, task

from infra.ray_pool import run_on_ray
from infra.settings import Settings
from modnet.configs import ComputeConfig
from modnet.records import RetrainReport
from tasks import remote
from tasks.retries import RETRIES, is_transient


@task(task_run_name="retrain {candidate_id}", retry_condition_fn=is_transient, **RETRIES)
def retrain_candidate(candidate_id: str, compute: ComputeConfig) -> RetrainReport:
    """Retrains one candidate on Ray; after a lost worker the next try resumes from the last saved epoch."""
    report = run_on_ray(
        remote.retrain_candidate,
        *(candidate_id, compute.candidate_cpus),
        cpus=compute.candidate_cpus,
        timeout_s=compute.timeout_s,
        address=Settings.from_env().ray_address,
        name=f"retrain {candidate_id}",
    )
    get_run_logger().info("retrained %s: loss %.4f", candidate_id, report.training.epoch_losses[-1])
    return report
