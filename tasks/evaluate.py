"""Tasks of the flow evaluate."""

from prefect import get_run_logger, task

from modnet.configs import ComputeConfig, ExportConfig, WinnerLimits
from modnet.evaluation.selection import choose_best
from modnet.records import Choice, HostLatencies, NetworkScores, TimedForms
from tasks.on_ray import recalled_or_computed
from tasks.remote import latency
from tasks.remote import scores as remote_scores
from tasks.remote.latency import deciding_form, timed_targets
from tasks.retries import RETRIES, is_transient
from tasks.stored import this_store
from tasks.stored_network import latencies_key, scores_key, shaped, timed_key


@task(task_run_name="score {network_id}", retry_condition_fn=is_transient, **RETRIES)
def score_network(network_id: str, config: ExportConfig, compute: ComputeConfig) -> NetworkScores:
    """Scores one network, unpruned or retrained, on Ray, at the shapes that it would be released for."""
    shapes = shaped(this_store(), network_id, config).shapes
    key = scores_key(this_store(), network_id, shapes)
    scores = recalled_or_computed(
        *(key, NetworkScores, remote_scores.score_network, network_id, shapes),
        cpus=compute.candidate_cpus,
        compute=compute,
        name=f"score {network_id}",
    )
    get_run_logger().info("%s: tune error %.6f, val error %.6f", network_id, scores.tune.error, scores.val.error)
    return scores


@task(task_run_name="convert {network_id} for timing", retry_condition_fn=is_transient, **RETRIES)
def make_timed_forms(network_id: str, config: ExportConfig, compute: ComputeConfig) -> TimedForms:
    """FP32 and INT8 IRs of one network, on Ray; a form that cannot be made is only not timed."""
    config = shaped(this_store(), network_id, config)
    key = timed_key(this_store(), network_id, config, timed_targets(config))
    forms = recalled_or_computed(
        *(key, TimedForms, latency.make_timed_forms, network_id, config, key),
        cpus=compute.candidate_cpus,
        compute=compute,
        name=f"convert {network_id}",
    )
    for form, reason in forms.refused.items():
        get_run_logger().warning("not timed: %s as %s: %s", network_id, form, reason)
    return forms


@task(retry_condition_fn=is_transient, **RETRIES)
def measure_on_host(forms: list[TimedForms], config: ExportConfig, compute: ComputeConfig) -> HostLatencies:
    """Latencies of every network's forms, with nothing else of this run on the cores."""
    key = latencies_key(forms, compute.base_cpus)
    return recalled_or_computed(
        *(key, HostLatencies, latency.measure_on_host, forms, deciding_form(config)),
        cpus=compute.base_cpus,
        compute=compute,
        name="measure on host",
    )


@task
def choose_winner(
    base: NetworkScores,
    candidates: list[NetworkScores],
    limits: WinnerLimits,
    latencies: HostLatencies,
    refused: dict[str, str] | None = None,
) -> Choice:
    """The fastest candidate that errs little enough and is not refused, judged on tune alone."""
    choice = choose_best(base, candidates, limits, latencies, refused)
    for candidate, reason in choice.reasons.items():
        get_run_logger().info("%s %s: %s", candidate, "wins" if candidate == choice.winner else "loses", reason)
    return choice
