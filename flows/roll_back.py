"""Flow roll-back."""

from prefect import flow

from modnet.targets import Target
from tasks.releases import release_before, roll_back_target


@flow(name="roll-back")
def roll_back(target: Target) -> str:
    """Makes the devices of a target run the release that they ran before, and returns it.

    Run it twice, and they run the newer one again.
    """
    current, before = release_before(target)
    roll_back_target(target, current, before)
    return before
