"""Which exit code and which words an error ends a verb with."""

from collections.abc import Mapping
from typing import Any

from infra.device.errors import ContractError, InfraError, SettingsError
from modnet.errors import (
    CheckpointError,
    ConfigError,
    DatasetError,
    GraphError,
    MissingExtraError,
    ModnetError,
    PruningError,
)


class UsageError(Exception):
    """Flags that do not go together; as with an unknown flag, the exit code is 2."""


class PartlyDoneError(Exception):
    """A verb did what could be done, not all, or found errors in what it looked at: `result` is shown, then this."""

    def __init__(self, message: str, result: dict[str, Any]) -> None:
        super().__init__(message)
        self.result = result


_SETTINGS = (ConfigError, MissingExtraError, SettingsError)
_FILES = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
_CONTENT = (DatasetError, CheckpointError, GraphError, PruningError, ContractError)

EXIT_CODES: Mapping[type[BaseException], int] = {
    UsageError: 2,
    # what cannot be used
    **dict.fromkeys((*_SETTINGS, *_FILES, *_CONTENT), 3),
    # something else that was foreseen: a full disk, a conversion that computes something else, a training that diverged
    **dict.fromkeys((PartlyDoneError, ModnetError, InfraError, OSError), 1),
    KeyboardInterrupt: 130,
}
"""By class of error; the nearest base of an error counts. What has none here is a fault of ours and shows where."""


def exit_code(error: BaseException) -> int:
    """The code of an error's nearest base in `EXIT_CODES`; StopIteration where it has none."""
    return next(EXIT_CODES[base] for base in type(error).__mro__ if base in EXIT_CODES)


def words(error: BaseException) -> str:
    """What is printed of an error, its control characters as they are."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, OSError) and error.filename is not None:
        return f"cannot use {error.filename}: {error.strerror}"
    return str(error)
