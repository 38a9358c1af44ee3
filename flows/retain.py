"""Flow retain."""

from prefect import flow

from tasks.releases import retain_releases


@flow(name="retain")
def retain(last: int = 30) -> list[str]:
    """Keeps the newest releases and removes older ones; returns those that are gone.

    What `retire` would refuse is kept as well. What killed publications have left is removed after a day.
    """
    return retain_releases(last)
