"""Tasks of the flow sensitivity."""

from prefect import get_run_logger, task

from modnet.configs import ComputeConfig, SensitivityConfig
from modnet.records import ChannelScores, Sensitivities, SensitivityReport
from modnet.report.sensitivity_plot import sensitivity_rows
from tasks.artifacts import create_image_artifact, create_table_artifact
from tasks.on_ray import recalled_or_computed
from tasks.remote import sensitivity
from tasks.retries import RETRIES, is_transient
from tasks.stored import this_store


@task(task_run_name="scores of {network_id}", retry_condition_fn=is_transient, **RETRIES)
def score_channels(network_id: str, config: SensitivityConfig, compute: ComputeConfig) -> tuple[list[str], str]:
    """Ranks the channels on Ray, so that all workers remove the same: the groups to look at, and the scores' key."""
    key = sensitivity.channel_scores_key(this_store(), network_id, config)
    ranked = recalled_or_computed(
        *(key, ChannelScores, sensitivity.score_channels, network_id, config),
        cpus=compute.base_cpus,
        compute=compute,
        name="score channels",
    )
    return list(ranked.scores), key


@task(task_run_name="sensitivity of {group}", retry_condition_fn=is_transient, **RETRIES)
def measure_group(
    network_id: str, group: str, config: SensitivityConfig, ranked_at: str, compute: ComputeConfig
) -> str:
    """Measures one group on Ray; returns the key of its Sensitivities."""
    key = sensitivity.group_key(this_store(), network_id, group, config)
    recalled_or_computed(
        *(key, Sensitivities, sensitivity.measure_group, network_id, group, config, ranked_at),
        cpus=compute.candidate_cpus,
        compute=compute,
        name=f"sensitivity of {group}",
    )
    return key


@task(retry_condition_fn=is_transient, **RETRIES)
def publish_sensitivity(network_id: str, measured_at: list[str], config: SensitivityConfig) -> SensitivityReport:
    """Curves as plot and table, and the ratios; takes seconds, so it runs here and not on Ray."""
    report = sensitivity.summarise(network_id, measured_at, config)
    choice = report.choice
    note = (
        f"Allowed loss {choice.allowed_loss:.3g} of each group by itself leaves {choice.parameters} parameters and "
        f"{choice.macs} MACs. Interactions between groups are not measured."
    )
    link = this_store().link(report.plot.key)
    create_table_artifact(sensitivity_rows(report.curves, choice), key="sensitivity", description=note)
    create_image_artifact(link, key="sensitivity-curves", description="Loss by share of channels removed, per group.")
    get_run_logger().info("%s", note)
    return report
