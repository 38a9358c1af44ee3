"""Flow sensitivity."""

from prefect import flow, unmapped

from modnet.configs import ComputeConfig, SensitivityConfig
from modnet.records import SensitivityReport
from tasks.on_ray import failures
from tasks.sensitivity import measure_group, publish_sensitivity, score_channels


@flow(name="sensitivity")
def sensitivity(
    network_id: str, config: SensitivityConfig = SensitivityConfig(), compute: ComputeConfig = ComputeConfig()
) -> SensitivityReport:
    """Prunes each channel group of a base or a retrained candidate alone, at several ratios, and measures the error.

    One task run per group on Ray; each group that was measured stays in the store, so a killed run goes on where it
    was. At the end stand the curves, as plot and table, and a ratio for each group: by allowed loss or by MACs.
    """
    groups, ranked_at = score_channels(network_id, config, compute)
    futures = measure_group.map(unmapped(network_id), groups, unmapped(config), unmapped(ranked_at), unmapped(compute))
    if failed := failures("group", groups, futures):
        raise RuntimeError(f"{len(failed)} of {len(groups)} groups were not measured, the others are stored: {failed}")
    return publish_sensitivity(network_id, [future.result() for future in futures], config)
