"""Flow deploy."""

from typing import Literal

from prefect import flow

from modnet.configs import ComputeConfig, ExportConfig, ReleaseConfig
from modnet.records import ReleaseRecord
from tasks.deploy import move_pointer, publish, targets_of


@flow(name="deploy")
def deploy(
    network_id: str,
    config: ExportConfig = ExportConfig(),
    promotion: Literal["if not worse", "always", "never"] = "if not worse",
    reason: str = "deployed by hand",
    compute: ComputeConfig = ComputeConfig(),
    release: ReleaseConfig = ReleaseConfig(),
) -> ReleaseRecord:
    """Publishes an exported network as an immutable release, then moves the pointer of each of its targets to it.

    Devices follow the pointer, so they never see half a release. A target keeps the release that it runs when that one
    errs less on the `tune` split, or is surely faster on this machine. It keeps it as well while that one is on its way
    to all devices, and where the new one was stopped on its way. Promotion "always" looks at none of this. With "never"
    the release is only published; `promote` moves pointers later, and `roll-back` moves them back.

    `release.share` is how many of a target's devices get it at first, see the flow `rollout`.
    """
    release_id = publish(network_id, config, reason, release.licence)
    promotions = [
        move_pointer(target, release_id, network_id, config, compute, promotion == "always", release.share)
        for target in ([] if promotion == "never" else targets_of(release_id))
    ]
    return ReleaseRecord(release_id=release_id, promotions=tuple(promotions))
