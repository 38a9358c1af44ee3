"""Flow prune."""

from prefect import flow, unmapped
from prefect.futures import PrefectFutureList

from modnet.configs import ComputeConfig, PruningConfig, Seed
from modnet.records import Candidate
from tasks.configs.baseline import UNPRUNED
from tasks.configs.sections import USUAL, Retraining
from tasks.prune import prune_base, put_start


@flow(name="prune")
def prune(
    base_id: str,
    pruning: tuple[PruningConfig, ...] = (PruningConfig(),),
    retrain: Retraining = USUAL.retraining(),
    seed: Seed = 0,
    compute: ComputeConfig = ComputeConfig(),
    start: str = UNPRUNED,
) -> list[Candidate]:
    """Makes one candidate per pruning config: a smaller network that keeps the weights of the kept channels.

    Candidates are pruned from the base (`unpruned`), or from what `start` names: `shipped-pruned`, or the path of
    another small network. This flow takes `retrain` as well, since it is part of what a candidate is.
    """
    start_id = put_start(base_id, start)
    futures: PrefectFutureList[Candidate] = prune_base.map(
        unmapped(base_id), pruning, unmapped(retrain), unmapped(seed), unmapped(compute), unmapped(start_id)
    )
    # Two configs may lead to the same candidate, and the same candidate is retrained once.
    return list({candidate.candidate_id: candidate for candidate in futures.result()}.values())
