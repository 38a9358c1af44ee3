"""Flow promote."""

from prefect import flow

from modnet.configs import Share
from modnet.targets import Target
from tasks.releases import promote_release


@flow(name="promote")
def promote(
    release_id: str, targets: list[Target] | None = None, share: Share = 1.0, is_forced: bool = False
) -> list[Target]:
    """Makes devices run a release that is published already, without a comparison.

    `targets` empty: all that the release has files for. Every byte is read and verified first. `deploy` compares the
    release with the one that a target runs.

    `share` is how many of the devices get it at first, as 0.2. The others run what they ran, until the flow `rollout`
    gives it to all. Ask again with another share, and only the share moves. A release whose rollout was stopped is
    refused, unless `is_forced`.
    """
    return promote_release(release_id, targets or [], share, is_forced)
