"""Flow retrain."""

from prefect import flow, unmapped

from modnet.configs import ComputeConfig
from tasks.on_ray import failures
from tasks.retrain import retrain_candidate


@flow(name="retrain")
def retrain_candidates(
    candidate_ids: list[str], compute: ComputeConfig = ComputeConfig(), min_survivors: int = 1
) -> dict[str, str]:
    """Retrains every candidate on Ray, one task run each, and waits for all.

    Returns the failed candidates with their reasons; fails when fewer than `min_survivors` are left.
    """
    candidate_ids = list(dict.fromkeys(candidate_ids))  # named twice, one would train twice at once
    failed = failures("candidate", candidate_ids, retrain_candidate.map(candidate_ids, unmapped(compute)))
    survivors = len(candidate_ids) - len(failed)
    if survivors < min_survivors:
        raise RuntimeError(
            f"{survivors} of {len(candidate_ids)} candidates were retrained, wanted at least {min_survivors}: {failed}"
        )
    return failed
