"""Every error that `infra.device` raises on purpose; `infra.errors` has those that only pipelines see.

InfraError
├─ StoreUnavailableError       network, throttling: worth another try
│  ├─ ClockError               it refuses what is signed at another time than its own
│  └─ DamagedAnswerError       bytes that are not what the store says they are: on their way, or on its disk
├─ SettingsError               an environment variable or key is missing or wrong
│  ├─ StoreRefusesError        the store answers, and refuses this identity, bucket or request
│  └─ DeviceMissingError       what a model is to run on is not there, or cannot be opened
├─ DiskFullError
├─ NotStoredError              no such key
├─ ConflictError               somebody else wrote first
├─ DigestMismatchError         bytes are not what the manifest says
├─ UntrustedError              signatures, version or expiry of what the store holds
├─ ChildLostError              the process in which a network runs crashed, hung or made no sense
└─ ContractError               a manifest, pointer or report is cut off, malformed or of another version
   └─ LaterVersionError        it is of a later version than its reader
"""


class InfraError(Exception):
    """Base of every error raised on purpose by `infra`."""


class StoreUnavailableError(InfraError):
    """The object store does not answer, or not now; another try may succeed."""


class ClockError(StoreUnavailableError):
    """The object store refuses what is signed by the clock of this machine, which somebody may set meanwhile."""


class DamagedAnswerError(StoreUnavailableError):
    """Bytes came that are not what the store says they are: damaged on their way, or for good where they are kept."""


class SettingsError(InfraError, ValueError):
    """An environment variable, credential or command-line value is missing or wrong."""


class StoreRefusesError(SettingsError):
    """The store answers, and refuses this identity, bucket or request: for good, or until somebody mends it there."""


class DeviceMissingError(SettingsError):
    """A device that the runtime knows is not there now, or cannot be opened."""


class DiskFullError(InfraError):
    """No room to write; what was there before is untouched."""


class NotStoredError(InfraError):
    """The store has no object under this key."""


class ConflictError(InfraError):
    """A conditional write lost: the object exists already or is not the one that was read."""


class DigestMismatchError(InfraError):
    """Bytes are not what the manifest says."""


class UntrustedError(InfraError):
    """What the store holds is not signed by whom we trust, is older than what we have seen, or its time is over."""


class ChildLostError(InfraError):
    """The process in which a network runs here crashed, hung, or answered what makes no sense."""


class ContractError(InfraError, ValueError):
    """A manifest, pointer or report is cut off, malformed or of an unknown version."""


class LaterVersionError(ContractError):
    """A manifest, pointer or report is of a later version than its reader, which an update can read."""
