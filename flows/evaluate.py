"""Flow evaluate."""

from prefect import flow, unmapped

from modnet.configs import BudgetConfig, ComputeConfig
from modnet.records import Choice, NetworkScores
from tasks.evaluate import choose_winner, score_network


@flow(name="evaluate")
def evaluate(
    base_id: str,
    candidate_ids: list[str],
    budget: BudgetConfig = BudgetConfig(),
    compute: ComputeConfig = ComputeConfig(),
) -> tuple[NetworkScores, list[NetworkScores], Choice]:
    """Scores the unpruned network and every retrained candidate, names the Pareto front and the best within budget.

    The choice reads the `tune` split alone; `val` is measured to be reported.
    """
    base, *candidates = score_network.map([base_id, *candidate_ids], unmapped(compute)).result()
    return base, candidates, choose_winner(base, candidates, budget)
