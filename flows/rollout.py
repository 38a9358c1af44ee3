"""Flow rollout."""

from prefect import flow

from modnet.configs import RolloutConfig
from modnet.report.run_tables import Row
from tasks.releases import look_after_rollouts


@flow(name="rollout")
def rollout(config: RolloutConfig = RolloutConfig()) -> list[Row]:
    """Looks at each release that a share of the devices runs: all get it, it is stopped, or it waits. A row for each.

    A device of the share that cannot run it, that computes something else, or that takes too long stops it: all devices
    run the release before again, and no run promotes this one by itself. All get it when its time is over and enough
    devices have sent a trustworthy report. This runs every ten minutes.
    """
    return look_after_rollouts(config)
