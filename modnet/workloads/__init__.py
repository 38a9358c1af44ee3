"""Families of networks, each with its data, loss, errors and published forms. They never import each other.

A workload is picked by the name in a config, a checkpoint, a record or a manifest, and imported then.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from modnet.errors import ConfigError

if TYPE_CHECKING:
    from modnet.workload import Workload

WORKLOADS = {"matting": ("modnet.workloads.matting.workload", "MATTING")}
"""Module and constant of each workload by its name. A new workload is a row here."""


def workload_named(name: str) -> Workload[Any]:
    """The workload of a name.

    Raises:
        ConfigError: there is none; lists those that there are.
    """
    if name not in WORKLOADS:
        raise ConfigError(f"workload: got {name!r}, there is {', '.join(sorted(WORKLOADS))}")
    module, constant = WORKLOADS[name]
    workload: Workload[Any] = getattr(import_module(module), constant)
    return workload
