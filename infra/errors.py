"""Errors of Ray and of local services, which devices have not; the others are in `infra.device.errors`.

InfraError
├─ WorkerLostError             a Ray worker or node died: worth another try
├─ ResourcesUnavailableError   the cluster cannot give what was asked
└─ StackError                  a local service did not start, or a port is taken
"""

from infra.device.errors import InfraError


class WorkerLostError(InfraError):
    """A Ray worker or its node died while it computed; another try may succeed."""


class ResourcesUnavailableError(InfraError):
    """The cluster has less than what was asked and would wait for ever."""


class StackError(InfraError):
    """A local service did not start, did not answer, or its port is taken."""
