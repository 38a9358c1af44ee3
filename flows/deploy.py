"""Flow deploy."""

from prefect import flow

from modnet.configs import ExportConfig
from modnet.records import ReleaseRecord
from tasks.deploy import move_pointer, publish


@flow(name="deploy")
def deploy(network_id: str, config: ExportConfig = ExportConfig()) -> ReleaseRecord:
    """Publishes an exported network as an immutable release, then moves the pointer of each of its targets to it.

    Devices follow the pointer, so they never see half a release. To roll back, deploy the earlier network again: its
    release is still there.
    """
    release = publish(network_id, config)
    for target in release.targets:
        move_pointer(target, release.release_id)
    return release
