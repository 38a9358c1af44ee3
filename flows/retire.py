"""Flow retire."""

from prefect import flow

from tasks.releases import retire_release


@flow(name="retire")
def retire(release_id: str) -> None:
    """Removes a release for good.

    It is kept where a target runs it, where a target ran it before, and where reports on it are awaited.
    """
    retire_release(release_id)
