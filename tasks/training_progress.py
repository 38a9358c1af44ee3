"""Training that runs on Ray, as a progress bar in the Prefect UI."""

import time
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from infra.object_store import open_store
from infra.settings import Settings
from modnet.records import TrainingProgress
from tasks.stored import recall
from tasks.stored_network import progress_key

REFRESH_EVERY_S = 10.0


class ProgressBar:
    """Shows what a training run writes into the store; call it as often as you like."""

    def __init__(self, folder: str, key: str, description: str) -> None:
        """Creates the bar, at 0 %.

        Args:
            folder: where the run keeps its files in the store.
            key: of the artifact: lower case letters, digits and dashes.
            description: beside the bar.
        """
        self._store = open_store(Settings.from_env().store_url)
        self._key = progress_key(folder)
        # In a task that is no coroutine the call is no coroutine either; its type says that it may be.
        self._artifact = cast(UUID, create_progress_artifact(progress=0.0, key=key, description=description))
        self._refreshed_at = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._refreshed_at >= REFRESH_EVERY_S:
            self._refreshed_at = time.monotonic()
            reached = recall(self._store, self._key, TrainingProgress)
            if reached is not None:
                self._show(100 * reached.step / reached.steps)

    def finish(self) -> None:
        """Shows 100 %."""
        self._show(100.0)

    def _show(self, percent: float) -> None:
        update_progress_artifact(self._artifact, progress=percent)
