"""Which runtime is installed where, asked of a child: the agent itself imports none."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from infra.device.agent.child import run_child
from infra.device.agent.settings import Deadlines, RuntimeSettings
from infra.device.documents.json_object import JsonObject
from infra.device.errors import ChildLostError, SettingsError
from infra.device.measuring.request import RUNTIME, Request
from infra.device.measuring.runtime import device_of

_log = logging.getLogger(__name__)


def ask_runtime(
    runtime: RuntimeSettings, deadlines: Deadlines, *, devices: tuple[str, ...] = (), present: tuple[str, ...] = ()
) -> str:
    """Name and version of a runtime, as `openvino 2026.4.1`.

    Args:
        runtime: that is asked.
        deadlines: of the child.
        devices: kinds that it must know, as `CPU`.
        present: devices that must be there now.

    Raises:
        SettingsError: its Python cannot be started or cannot import it, or it can never use such a device here.
        DeviceMissingError: a device is not there now.
        ChildLostError: it crashed or hung on that.
    """
    found: list[str] = []

    def take(stage: str, answer: JsonObject) -> None:
        if stage == RUNTIME:
            found.append(answer.text("text"))

    run_child(runtime, Request(devices=devices, present=present), deadlines, take)
    if not found:
        raise ChildLostError(f"runtime {runtime.name}: the child does not say which it is")
    return found[0]


def check_runtimes(runtimes: Sequence[RuntimeSettings], targets: Sequence[str], deadlines: Deadlines) -> None:
    """Refuses, before the first round, what only the owner of this machine can mend; what crashes may pass.

    Raises:
        SettingsError: a name stands twice, a target that no runtime runs, or that names no device, or as `ask_runtime`.
    """
    names = [runtime.name for runtime in runtimes]
    if len(set(names)) != len(names):
        raise SettingsError(f"runtimes: got {names}, wanted each name once")
    for target in targets:
        if not any(runtime.runs(target) for runtime in runtimes):
            raise SettingsError(f"target {target!r}: no runtime runs it, of {names}")
    for runtime in runtimes:
        devices = sorted({device_of(target) for target in targets if runtime.runs(target)})
        try:
            text = ask_runtime(runtime, deadlines, devices=tuple(devices))
        except ChildLostError as error:
            _log.error("runtime %s: %s", runtime.name, error)
        else:
            _log.info("runtime %s: %s", runtime.name, text)
