"""Both ends of a process that computes samples beside the training.

It is a fresh interpreter: forking a process in which Ray, OpenVINO or OpenMP have threads ends in a crash, and
`multiprocessing`'s spawn would import the caller's main module, which may be all of Ray, in every worker. The two talk
through a pair of sockets, so either notices when the other is gone, also when it was killed.
"""

import logging
import pickle
import subprocess
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

import cv2
import torch

from modnet.errors import DatasetError, LoadingError

Kind_co = TypeVar("Kind_co", covariant=True)
Kind = TypeVar("Kind")

_PROGRAM = "import sys; sys.path[:] = sys.argv[2:]; from modnet.data import loading_worker; loading_worker.serve()"
_PATIENCE_S = 10.0  # for a worker to finish its sample and leave

logger = logging.getLogger(__name__)


class Samples(Protocol[Kind_co]):
    """A data set whose samples are functions of (epoch, index)."""

    epoch: int

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose samples come next."""

    def divided(self, parts: int) -> Self:
        """A copy for one of several processes."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Kind_co: ...


class Reading(NamedTuple, Generic[Kind]):
    """What came of asking for one sample."""

    # the one asked for, or the next, in the order of indices and round the end, that could be read; None when too many
    # in a row could not
    sample: Kind | None
    unreadable: tuple[tuple[int, str], ...]  # index and error of those that could not be read on the way


def read_or_next(dataset: Samples[Kind], index: int, max_unreadable: int) -> Reading[Kind]:
    """The sample at an index, replaced when it cannot be read; gives up beyond `max_unreadable` in a row."""
    unreadable: list[tuple[int, str]] = []
    while len(unreadable) <= min(max_unreadable, len(dataset) - 1):
        wanted = (index + len(unreadable)) % len(dataset) if unreadable else index
        try:
            return Reading(dataset[wanted], tuple(unreadable))
        except DatasetError as error:
            unreadable.append((wanted, str(error)))
    return Reading(None, tuple(unreadable))


class LoadingWorker(Generic[Kind]):
    """The end of the process that trains."""

    def __init__(self, dataset: Samples[Kind], max_unreadable: int) -> None:
        """Starts the process; it imports for a second or two while this one goes on."""
        self._connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), *sys.path],
                pass_fds=[theirs.fileno()],
                process_group=0,  # a Ctrl-C is for the process that trains, which then ends this one
            )
        self._untold: list[Any] = [(dataset, max_unreadable)]

    def ask(self, epoch: int, indices: Sequence[int]) -> None:
        """Asks for samples, to be received one by one in this order; what was asked before must have been received."""
        # The data set goes with the first question: by then all workers are importing, and none waits for another.
        try:
            for message in (*self._untold, (epoch, list(indices))):
                self._connection.send_bytes(pickle.dumps(message))
        except OSError as error:
            raise self._lost() from error
        self._untold.clear()

    def receive(self) -> Reading[Kind]:
        """The next sample.

        Raises:
            LoadingError: the process has ended.
            Exception: whatever computing the sample raised there.
        """
        try:
            answer = pickle.loads(self._connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise self._lost() from error
        if isinstance(answer, BaseException):
            raise answer
        kind, arrays, unreadable = answer
        sample = None if arrays is None else kind(*map(torch.from_numpy, arrays))
        return Reading(sample, unreadable)

    def close(self) -> None:
        """Ends the process: it leaves when its end of the connection is cut, or is killed after ten seconds."""
        self._connection.close()
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _lost(self) -> LoadingError:
        try:
            code: int | str = self._process.wait(1)
        except subprocess.TimeoutExpired:
            code = "none yet"
        hint = "-9 is mostly a lack of memory, then fewer workers may do"
        return LoadingError(f"a process that loads samples has ended (exit code {code}; {hint})")


def serve() -> None:
    """The end of the worker: answers until nobody asks any more."""
    # One thread each: workers are there to use the cores side by side.
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with Connection(int(sys.argv[1])) as connection:
        try:
            dataset, max_unreadable = pickle.loads(connection.recv_bytes())
            while True:
                epoch, indices = pickle.loads(connection.recv_bytes())
                dataset.set_epoch(epoch)
                for answer in _answers(dataset, indices, max_unreadable):
                    connection.send_bytes(answer)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return


def _answers(dataset: Samples[Any], indices: Iterable[int], max_unreadable: int) -> Iterator[bytes]:
    for index in indices:
        try:
            sample, unreadable = read_or_next(dataset, index, max_unreadable)
        except Exception as error:  # raised again where the sample is received
            error.add_note(f"in a process that loads samples:\n{traceback.format_exc()}")
            yield pickle.dumps(error)
            return
        # As arrays: pickled tensors would be moved through shared memory, one file descriptor each.
        arrays = None if sample is None else [tensor.numpy() for tensor in sample]
        yield pickle.dumps((type(sample), arrays, unreadable), protocol=pickle.HIGHEST_PROTOCOL)
