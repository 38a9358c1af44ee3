"""What a training has reached: in the store where that answers, and on the disk of its node in any case.

Another node goes on from the store. A store that is away costs a training nothing: it is saved on the node, and no put
of a state or of progress is waited for.
"""

import logging
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from infra.device.errors import DiskFullError, NotStoredError, SettingsError, StoreUnavailableError
from infra.device.files.atomic_file import atomic_file
from infra.device.files.local_errors import local_errors
from infra.device.stores.object_store import ObjectStore, open_store
from infra.settings import Settings
from modnet.records import TrainingProgress
from modnet.training.state import TrainingState, step_of
from tasks.stored import put_record
from tasks.stored_network import progress_key, state_key

logger = logging.getLogger(__name__)

KEPT_S = 7 * 24 * 3600.0  # a state on this disk that nobody went on from
FIRST_PAUSE_S, LONGEST_PAUSE_S = 30.0, 300.0  # between tries to write to a store that does not answer


class StateOfTraining:
    """State and progress of the training in one folder of the store."""

    def __init__(self, settings: Settings, folder: str) -> None:
        self._folder = folder
        self._store = open_store(settings.store_url)
        self._folders = settings.cache_folder / "trainings"
        self._local = self._folders / folder / "state"
        self._pause_s, self._silent_until = FIRST_PAUSE_S, 0.0

    def read(self, store: ObjectStore) -> tuple[bytes, str] | None:
        """The later one of both, and where it is from; None where there is none.

        Args:
            store: the same, which is waited for: who went on without the state there would write over it.
        """
        found = []
        try:
            found.append((self._local.read_bytes(), str(self._local)))
            if step_of(found[0][0]) is None:
                logger.warning("%s is damaged, the training goes on from the store or from its start", self._local)
                found.clear()
        except FileNotFoundError:
            pass
        except OSError as error:
            logger.warning(
                "%s cannot be read, the training goes on from the store or from its start: %s", self._local, error
            )
        try:
            key = state_key(self._folder)
            found.append((store.get(key), f"{store.url}/{key}"))
        except NotStoredError:
            pass
        return max(found, key=lambda one: step_of(one[0]) or 0, default=None)

    def save(self, state: TrainingState) -> None:
        """Keeps a state on this disk, and writes it to the store unless that was silent a moment ago."""
        data = state.to_bytes()
        try:
            with local_errors(str(self._local)):
                self._local.parent.mkdir(parents=True, exist_ok=True)
                with atomic_file(self._local) as file:
                    file.write(data)
        except (DiskFullError, SettingsError, OSError) as error:  # also where another run of the question has ended
            logger.warning("%s; the state goes to the store alone", error)
        self._tell(lambda: self._store.put(state_key(self._folder), data))

    def tell(self, progress: TrainingProgress) -> None:
        """Writes how far it is."""
        self._tell(lambda: put_record(self._store, progress_key(self._folder), progress))

    def forget(self) -> None:
        """Removes both, once what the training made is stored."""
        for key in (state_key(self._folder), progress_key(self._folder)):
            self._tell(partial(self._store.delete, key))
        shutil.rmtree(self._local.parent, ignore_errors=True)
        for left in self._folders.rglob("*"):  # of trainings that another node has finished, or nobody asks for again
            with suppress(OSError):  # somebody else removes it, too
                if left.is_file() and left.stat().st_mtime < time.time() - KEPT_S:
                    left.unlink()

    def _tell(self, request: Callable[[], object]) -> None:
        """Asks the store for what nothing waits for; one that does not answer is left alone, longer each time."""
        if time.monotonic() < self._silent_until:
            return
        try:
            request()
            self._pause_s = FIRST_PAUSE_S
        except StoreUnavailableError as error:
            logger.warning("the training goes on without the store, and tries it in %g s: %s", self._pause_s, error)
            self._silent_until = time.monotonic() + self._pause_s
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
