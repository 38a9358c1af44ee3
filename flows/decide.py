"""Flow decide."""

from prefect import flow

from modnet.configs import Share, TrialConfig
from modnet.report.run_tables import Row
from tasks.decide import decide_trials


@flow(name="decide")
def decide(config: TrialConfig = TrialConfig(), share: Share = 1.0) -> list[Row]:
    """Decides what each target with releases on trial runs, by what its devices have measured. A row for each.

    A target keeps its release unless another one is surely not worse, and surely better in something: faster on the
    devices, or with a lower error. It waits for devices until the trials' time is over. Where none has reported by
    then, the latency on the host counts. `share` is how many devices get the winner at first. This runs every ten
    minutes, and some seconds after a report where the ingest tells of it.
    """
    return decide_trials(config, share)
