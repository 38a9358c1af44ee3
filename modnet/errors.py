"""Every error that `modnet` raises on purpose.

    ModnetError
    ├─ ConfigError             a setting out of range; says name, value, allowed
    ├─ MissingExtraError       a package that an extra of the installation brings; says which
    ├─ DatasetError            missing pair, wrong size, empty split, bad archive
    │  └─ DownloadError        cut connection, 5xx: worth another try
    ├─ LoadingError            a process that loads samples ended by itself
    ├─ CheckpointError         unreadable, wrong spec, missing or unexpected keys
    ├─ PruningError            a request that cannot yield a working network
    ├─ UnsteadyLatencyError    no network's latency held when it was measured again
    ├─ TrainingDivergedError   loss not finite; carries step and last finite loss
    ├─ HoursOverError          a training that had to end in time is saved, and not done
    └─ ExportError             conversion failed
       ├─ GraphError           an ONNX file or IR that cannot be read, or is of another kind
       ├─ LoweringError        an operation that the target's runtimes do not read
       ├─ ParityError          differs beyond tolerance; carries the numbers
       └─ AccuracyError        errs more than is allowed; carries the decisions

A message says what, got, wanted, where: it is read at night by somebody who did not write the code.
"""

from typing import Any


class ModnetError(Exception):
    """Base of every error raised on purpose by `modnet`: a message, and what else the error carries."""

    def __str__(self) -> str:
        # The rest is in `args` so that it crosses the border of a Ray worker's process.
        return str(self.args[0]) if self.args else ""


class ConfigError(ModnetError, ValueError):
    """A setting is out of range."""


class MissingExtraError(ModnetError, ImportError):
    """A part of the project is used whose packages are not installed."""


class DatasetError(ModnetError):
    """A data set, archive, image or label cannot be used."""


class DownloadError(DatasetError):
    """A download was cut or refused in passing; another try may succeed."""


class LoadingError(ModnetError):
    """A process that loads samples beside the training ended by itself."""


class CheckpointError(ModnetError):
    """A checkpoint cannot be read or does not fit the network."""


class PruningError(ModnetError, ValueError):
    """A pruning request cannot yield a working network."""


class UnsteadyLatencyError(ModnetError):
    """What was measured as fast enough was too slow each time it was measured again."""


class TrainingDivergedError(ModnetError):
    """The loss became infinite or not a number at a step, from 0. The last finite one is None where there was none."""

    def __init__(self, message: str, step: int, last_finite_loss: float | None) -> None:
        super().__init__(message, step, last_finite_loss)
        self.step, self.last_finite_loss = step, last_finite_loss


class HoursOverError(ModnetError):
    """The time of a training was over before it was done; its state is saved, and another call goes on."""


class ExportError(ModnetError):
    """A conversion to ONNX or OpenVINO failed."""


class GraphError(ExportError):
    """An ONNX file or an IR cannot be read, or is not of the kind of network that is wanted."""


class LoweringError(ExportError):
    """A graph needs an operation that the target's runtimes do not read."""


class AccuracyError(ExportError):
    """A quantised network errs more than is allowed, whatever was tried: a `QuantisationDecision` of the records."""

    def __init__(self, message: str, decision: Any) -> None:
        super().__init__(message, decision)
        self.decision = decision


class ParityError(ExportError):
    """An exported network differs from its source by more than the tolerance.

    Both differences of the output are absolute; `layer`, where it is known, is the first that computes something else.
    """

    def __init__(self, message: str, max_difference: float, mean_difference: float, layer: str | None = None) -> None:
        super().__init__(message, max_difference, mean_difference, layer)
        self.max_difference, self.mean_difference, self.layer = max_difference, mean_difference, layer
