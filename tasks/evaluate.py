"""Tasks of the flow evaluate."""

from prefect import get_run_logger, task

from infra.object_store import open_store
from infra.settings import Settings
from modnet.configs import BudgetConfig, ComputeConfig
from modnet.evaluation.selection import choose_best
from modnet.records import Choice, NetworkScores
from tasks import remote
from tasks.on_ray import recalled_or_computed
from tasks.retries import RETRIES, is_transient
from tasks.stored_network import scores_key


@task(task_run_name="score {network_id}", retry_condition_fn=is_transient, **RETRIES)
def score_network(network_id: str, compute: ComputeConfig) -> NetworkScores:
    """Scores one network, unpruned or retrained, on Ray."""
    scores = recalled_or_computed(
        scores_key(open_store(Settings.from_env().store_url), network_id),
        NetworkScores,
        remote.score_network,
        *(network_id, compute.candidate_cpus),
        cpus=compute.candidate_cpus,
        compute=compute,
        name=f"score {network_id}",
    )
    get_run_logger().info("%s: tune MSE %.6f, val MSE %.6f", network_id, scores.tune.mse, scores.val.mse)
    return scores


@task
def choose_winner(
    base: NetworkScores, candidates: list[NetworkScores], budget: BudgetConfig, refused: dict[str, str] | None = None
) -> Choice:
    """The best candidate within the budget that is not refused, judged on tune alone."""
    choice = choose_best(base, candidates, budget, refused)
    for candidate, reason in choice.reasons.items():
        get_run_logger().info("%s %s: %s", candidate, "wins" if candidate == choice.winner else "loses", reason)
    return choice
