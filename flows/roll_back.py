"""Flow roll-back."""

from prefect import flow

from modnet.targets import Target
from tasks.releases import roll_back_target


@flow(name="roll-back")
def roll_back(target: Target) -> str:
    """Makes the devices of a target run the release that they ran before, and returns it.

    Run it twice, and they run the newer one again.
    """
    return roll_back_target(target)
