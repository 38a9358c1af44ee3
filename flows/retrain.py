"""Flow retrain."""

from prefect import flow, get_run_logger, unmapped

from infra.device.shown import shown
from modnet.configs import ComputeConfig
from tasks.retrain import retrain_candidate


@flow(name="retrain")
def retrain_candidates(
    candidate_ids: list[str], compute: ComputeConfig = ComputeConfig(), min_survivors: int = 1
) -> dict[str, str]:
    """Retrains every candidate on Ray, one task run each, and waits for all.

    Returns the failed candidates with their reasons; fails when fewer than `min_survivors` are left.
    """
    candidate_ids = list(dict.fromkeys(candidate_ids))  # named twice, one would train twice at once
    futures = retrain_candidate.map(candidate_ids, unmapped(compute))
    futures.wait()
    failed = {}
    for candidate_id, future in zip(candidate_ids, futures, strict=True):
        if not future.state.is_completed():
            failed[candidate_id] = shown(future.state.message or future.state.name or "unknown")
            get_run_logger().error("candidate %s failed: %s", candidate_id, failed[candidate_id])
    survivors = len(candidate_ids) - len(failed)
    if survivors < min_survivors:
        raise RuntimeError(
            f"{survivors} of {len(candidate_ids)} candidates were retrained, wanted at least {min_survivors}: {failed}"
        )
    return failed
