"""Flow prune."""

from prefect import flow, unmapped
from prefect.futures import PrefectFutureList

from modnet.configs import ComputeConfig, PruningConfig, RetrainConfig, Seed
from modnet.records import Candidate
from tasks.prune import prune_base


@flow(name="prune")
def prune(
    base_id: str,
    pruning: list[PruningConfig],
    retrain: RetrainConfig,
    seed: Seed = 0,
    compute: ComputeConfig = ComputeConfig(),
) -> list[Candidate]:
    """Makes one candidate per pruning config: a smaller network that keeps the base's weights on the kept channels.

    How a candidate will be retrained is part of its identity, so it is said here.
    """
    futures: PrefectFutureList[Candidate] = prune_base.map(
        unmapped(base_id), pruning, unmapped(retrain), unmapped(seed), unmapped(compute)
    )
    # Two configs may lead to the same candidate, and the same candidate is retrained once.
    return list({candidate.candidate_id: candidate for candidate in futures.result()}.values())
