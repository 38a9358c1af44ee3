"""Flow trial."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from prefect import flow
from pydantic import Field

from modnet.configs import ComputeConfig, ExportConfig, ReleaseConfig
from modnet.records import ReleaseRecord
from modnet.targets import Target
from tasks.deploy import publish, targets_of
from tasks.trials import put_on_trial


@flow(name="trial")
def trial(
    network_ids: list[str],
    config: ExportConfig = ExportConfig(),
    reason: str = "put on trial by hand",
    compute: ComputeConfig = ComputeConfig(),
    release: ReleaseConfig = ReleaseConfig(),
    hours: Annotated[float, Field(gt=0, le=720)] = 24.0,
) -> list[ReleaseRecord]:
    """Publishes exported networks, and has devices measure them beside what they run.

    The flow `decide` promotes one of them for each target, or says why not, when all devices have reported or the hours
    are over. A target without a release gets the first one at once. What was on trial before is not any longer.

    `network_ids`: at most 8, the one that devices measure first in front.
    """
    released = [publish(network_id, config, reason, release.licence) for network_id in network_ids]
    of_target: dict[Target, list[str]] = {}
    for release_id in dict.fromkeys(released):
        for target in targets_of(release_id):
            of_target.setdefault(target, []).append(release_id)
    decide_by = datetime.now(UTC) + timedelta(hours=hours)
    became = [put_on_trial(target, names, decide_by, config, compute) for target, names in of_target.items()]
    promotions = {name: tuple(one[name] for one in became if name in one) for name in released}
    return [ReleaseRecord(release_id=name, promotions=promotions[name]) for name in released]
