"""Training that runs on Ray, as a progress bar in the Prefect UI."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import cast
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from modnet.records import TrainingProgress
from tasks.stored import prompt_store, recall
from tasks.stored_network import progress_key

REFRESH_EVERY_S = 5.0
_LAST_LOOK_WITHIN_S = 5.0


@contextmanager
def shown_training(folder: str, key: str, description: str) -> Iterator[None]:
    """Shows what a training run writes into `folder` of the store while the block runs, and 100 % when it succeeded.

    Watching never ends work, nor holds it up: it happens in a thread of its own, and what goes wrong there, as a
    Prefect server that is away, is logged once and tried again. The artifact's key is of lower case letters, digits and
    dashes.
    """
    watch = _Watch(folder, key, description)
    # The context tells Prefect which run the artifact belongs to.
    thread = threading.Thread(target=copy_context().run, args=(watch.follow,), name=f"watch {key}", daemon=True)
    thread.start()
    try:
        yield
        watch.percent = 100.0
    finally:
        watch.over.set()
        thread.join(_LAST_LOOK_WITHIN_S)


class _Watch:
    def __init__(self, folder: str, key: str, description: str) -> None:
        self.over = threading.Event()
        self.percent: float | None = None  # once it is known without looking
        self._folder, self._key, self._description = folder, key, description
        self._artifact: UUID | None = None
        self._has_failed = False

    def follow(self) -> None:
        """Shows the progress now and then until `over` is set, and once more then."""
        while True:
            is_over = self.over.is_set()
            try:
                self._show()
            except Exception as error:  # Prefect's client, its server and the store fail in many ways: none is ours
                if not self._has_failed:
                    self._has_failed = True
                    problem = f"progress of {self._folder} cannot be shown, the work goes on"
                    get_run_logger().warning("%s: %s: %s", problem, type(error).__name__, error)
            if is_over:
                return
            self.over.wait(REFRESH_EVERY_S)

    def _show(self) -> None:
        if self._artifact is None:
            begun = create_progress_artifact(progress=0.0, key=self._key, description=self._description)
            self._artifact = cast(UUID, begun)  # no coroutine in a task that is none; its type says that it may be
        percent, description = self.percent, self._description
        if percent is None:
            reached = recall(prompt_store(), progress_key(self._folder), TrainingProgress)
            if reached is None:
                return
            percent = 100 * reached.step / reached.steps
            description += f": {reached.text}" if reached.text else ""
        update_progress_artifact(self._artifact, progress=percent, description=description)
