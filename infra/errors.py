"""Errors of Ray and of local services, which devices have not; the others are in `infra.device.errors`.

InfraError
├─ StoreGoneError              the store did not answer for as long as a run waits: worth none
├─ WorkerLostError             a Ray worker or node died: worth another try
│  └─ OutOfMemoryError         it was killed for the memory that it took
├─ ResourcesUnavailableError   the cluster cannot give what was asked
└─ StackError                  a local service did not start, or a port is taken
"""

from infra.device.errors import InfraError


class StoreGoneError(InfraError):
    """The object store did not answer for as long as a run waits for it."""


class WorkerLostError(InfraError):
    """A Ray worker or its node died while it computed; another try may succeed."""


class OutOfMemoryError(WorkerLostError):
    """The computation took more memory than its node or its GPU has; with less at a time it may succeed."""


class ResourcesUnavailableError(InfraError):
    """The cluster has less than what was asked and would wait for ever."""


class StackError(InfraError):
    """A local service did not start, did not answer, or its port is taken."""
