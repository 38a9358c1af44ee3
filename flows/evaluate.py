"""Flow evaluate."""

from prefect import flow, unmapped

from modnet.configs import ComputeConfig, ExportConfig, WinnerLimits
from modnet.records import Choice, HostLatencies, NetworkScores
from tasks.evaluate import choose_winner, make_timed_forms, measure_on_host, score_network


@flow(name="evaluate")
def evaluate(
    base_id: str,
    candidate_ids: list[str],
    winner_limits: WinnerLimits = WinnerLimits(),
    export: ExportConfig = ExportConfig(),
    compute: ComputeConfig = ComputeConfig(),
) -> tuple[NetworkScores, list[NetworkScores], HostLatencies, Choice]:
    """Scores and times the unpruned network and every retrained candidate, and chooses the one to release.

    The fastest candidate wins among those that err little enough. The choice reads the `tune` split alone; `val` is
    measured to be reported. Latencies are taken in FP32 and, where it will be released, in INT8, all in turns on this
    machine.
    """
    networks = [base_id, *candidate_ids]
    scores = score_network.map(networks, unmapped(export), unmapped(compute))
    forms = make_timed_forms.map(networks, unmapped(export), unmapped(compute))
    base, *candidates = scores.result()
    latencies = measure_on_host(forms.result(), export, compute)  # when nothing else is left to compute
    return base, candidates, latencies, choose_winner(base, candidates, winner_limits, latencies)
