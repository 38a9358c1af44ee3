"""Families of networks, each with its data, loss, errors and published forms. They never import each other.

A workload is picked by the name in a config, a checkpoint, a record or a manifest, and imported then.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from modnet.configs import SyntheticConfig
from modnet.errors import ConfigError

if TYPE_CHECKING:
    from modnet.workload import Workload


class Home(NamedTuple):
    """Where the parts of a workload are, as `module:name`.

    Attributes:
        workload: a `modnet.workload.Workload`.
        draw: writes the archive of the data set `synthetic`: (path, its config). It does without torch. None: there is
            no such data set.
    """

    workload: str
    draw: str | None = None


WORKLOADS = {
    "matting": Home("modnet.workloads.matting.workload:MATTING", "modnet.workloads.matting.data.synthetic:draw")
}
"""By name. A new workload is a row here."""


def workload_named(name: str) -> Workload[Any]:
    """The workload of a name.

    Raises:
        ConfigError: there is none; lists those that there are.
    """
    workload: Workload[Any] = _imported(_home(name).workload)
    return workload


def draw_synthetic(name: str, path: Path, config: SyntheticConfig) -> None:
    """Writes the archive of a workload's data set `synthetic`.

    Raises:
        ConfigError: there is no such workload, or it has no such data set.
    """
    draw = _home(name).draw
    if draw is None:
        raise ConfigError(f"workload {name!r} renders no data set; wanted another source than synthetic")
    write: Callable[[Path, SyntheticConfig], None] = _imported(draw)
    write(path, config)


def _home(name: str) -> Home:
    if name not in WORKLOADS:
        raise ConfigError(f"workload: got {name!r}, there is {', '.join(sorted(WORKLOADS))}")
    return WORKLOADS[name]


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
