"""Families of networks, each with its data, loss, errors and published forms. They never import each other.

One is picked by the name in a config, a checkpoint, a record or a manifest, and imported then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from modnet.errors import ConfigError

if TYPE_CHECKING:
    from modnet.graph_function import GraphFunction
    from modnet.targets import Shape

    Tell = Callable[[Sequence[Path], GraphFunction, Sequence[Shape], Sequence[str]], list[dict[str, str]]]

    from modnet.configs import SyntheticConfig, WorkloadSettings
    from modnet.workload import Workload


class Home(NamedTuple):
    """Where the parts of a workload are, as `module:name`."""

    workload: str  # a `modnet.workload.Workload`
    settings: str | None = None  # a `WorkloadSettings`. None: it adds nothing to the engine's
    # writes the archive of the data set `synthetic`: (path, its config). It does without torch. None: there is no such
    # data set
    draw: str | None = None
    # what `modnet infer` prints of images where their answers are no pictures: (images, graph, shapes that it reads,
    # names of its outputs) → a table's rows. It does without torch. None: `infer` is matting's
    tell: str | None = None


WORKLOADS = {
    "matting": Home(
        "modnet.workloads.matting.workload:MATTING",
        "modnet.workloads.matting.settings:SETTINGS",
        "modnet.workloads.matting.data.synthetic:draw",
    ),
    "classification": Home(
        "modnet.workloads.classification.workload:CLASSIFICATION",
        "modnet.workloads.classification.settings:SETTINGS",
        "modnet.workloads.classification.synthetic:draw",
        "modnet.workloads.classification.predict:classes_of",
    ),
}
"""By name. A new workload is a row here."""

USUAL_WORKLOAD = "matting"
"""Of what does not say its workload: settings where none was chosen, published checkpoints, files of version 0.1.0."""


def workload_named(name: str | None) -> Workload[Any]:
    """The workload of a name; the usual one of None.

    Raises:
        ConfigError: there is none; lists those that there are.
    """
    workload: Workload[Any] = _imported(_home(name).workload)
    return workload


def settings_named(name: str | None) -> WorkloadSettings:
    """What a workload adds to the settings of a run, see `workload_named`.

    Raises:
        ConfigError: there is no such workload.
    """
    from modnet.configs import WorkloadSettings  # with pydantic, which cutting people out does without

    place = _home(name).settings
    settings: WorkloadSettings = WorkloadSettings() if place is None else _imported(place)
    return settings


def draw_synthetic(name: str | None, path: Path, config: SyntheticConfig) -> None:
    """Writes the archive of a workload's data set `synthetic`.

    Raises:
        ConfigError: there is no such workload, or it has no such data set.
    """
    if (draw := _home(name).draw) is None:
        raise ConfigError(f"workload {name!r} renders no data set; wanted another source than synthetic")
    _imported(draw)(path, config)


def teller_named(name: str | None) -> Tell | None:
    """What prints the answers of a workload's networks, see `Home`; None where these are pictures.

    Raises:
        ConfigError: there is no such workload.
    """
    place = _home(name).tell
    return None if place is None else _imported(place)


def _home(name: str | None) -> Home:
    name = name or USUAL_WORKLOAD
    if name not in WORKLOADS:
        raise ConfigError(f"workload: got {name!r}, there is {', '.join(sorted(WORKLOADS))}")
    return WORKLOADS[name]


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
