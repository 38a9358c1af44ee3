"""Tasks of the flow evaluate."""

from prefect import get_run_logger, task

from infra.ray_pool import run_on_ray
from infra.settings import Settings
from modnet.configs import BudgetConfig, ComputeConfig
from modnet.evaluation.selection import choose_best
from modnet.records import Choice, NetworkScores
from tasks import remote
from tasks.retries import RETRIES, is_transient


@task(task_run_name="score {network_id}", retry_condition_fn=is_transient, **RETRIES)
def score_network(network_id: str, compute: ComputeConfig) -> NetworkScores:
    """Scores one network, unpruned or retrained, on Ray."""
    scores = run_on_ray(
        remote.score_network,
        *(network_id, compute.candidate_cpus),
        cpus=compute.candidate_cpus,
        timeout_s=compute.timeout_s,
        address=Settings.from_env().ray_address,
        name=f"score {network_id}",
    )
    get_run_logger().info("%s: tune MSE %.6f, val MSE %.6f", network_id, scores.tune.mse, scores.val.mse)
    return scores


@task
def choose_winner(base: NetworkScores, candidates: list[NetworkScores], budget: BudgetConfig) -> Choice:
    """The best candidate within the budget, judged on tune alone."""
    choice = choose_best(base, candidates, budget)
    for candidate, reason in choice.reasons.items():
        get_run_logger().info("%s %s: %s", "wins:" if candidate == choice.winner else "loses:", candidate, reason)
    return choice
