"""Flow renew."""

from datetime import datetime

from prefect import flow

from tasks.releases import renew_signatures


@flow(name="renew")
def renew() -> datetime:
    """Signs anew what is released, so that devices see that nobody holds back something newer.

    A signature counts for 7 days. Devices measure nothing after that. So this runs every day. It also removes what
    killed publications have left.
    """
    return renew_signatures()
