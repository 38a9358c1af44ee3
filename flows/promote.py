"""Flow promote."""

from prefect import flow

from modnet.targets import Target
from tasks.releases import promote_release


@flow(name="promote")
def promote(release_id: str, targets: list[Target] | None = None) -> list[Target]:
    """Makes devices run a release that is published already, without a comparison.

    `targets` empty: all that the release has files for. Every byte is read and verified first. `deploy` compares the
    release with the one that a target runs.
    """
    return promote_release(release_id, targets or [])
