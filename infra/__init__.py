"""Machines and services. No process that imports this sends usage statistics, see `infra.device`."""

from infra.device import NO_STATISTICS as NO_STATISTICS
