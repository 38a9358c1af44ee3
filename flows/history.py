"""Flow history."""

from prefect import flow

from tasks.publish_history import publish_history


@flow(name="history")
def history() -> str:
    """Writes the page of all nights: what they gained, what failed, what targets ran; returns its address.

    The page stands in the store and grows with every night. A night writes it at its end; this flow writes it anew in
    between, as when a target has changed hands since.
    """
    return publish_history()
