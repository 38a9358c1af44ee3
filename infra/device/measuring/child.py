"""The child of the agent: whatever a network does to a process, it does to this one.

It reads one request from stdin and answers as `request` says. The answers go to what was stdout at the start; a library
that writes to stdout afterwards writes to stderr. The agent ends the child where it hangs, and the child ends with the
agent (`infra.device.agent.child` is the other side).
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Callable

from infra.device.documents.canonical_json import canonical_json
from infra.device.documents.checks import MAX_TEXT
from infra.device.documents.latency_report import Comparison
from infra.device.documents.manifest import Golden
from infra.device.errors import ContractError, InfraError
from infra.device.measuring.comparison import comparison
from infra.device.measuring.latency import measure, measure_interleaved, warm_up
from infra.device.measuring.machine import machine_conditions
from infra.device.measuring.request import (
    BEAT,
    COMPARED,
    COMPARED_ROUNDS,
    DONE,
    END,
    ERROR,
    GOLDEN,
    LOADED,
    MAX_REQUEST_BYTES,
    NOT_COMPARED,
    RUNTIME,
    TOLD_ERRORS,
    Network,
    Request,
)
from infra.device.measuring.runtime import (
    LoadedModel,
    check_device,
    check_device_kind,
    device_of,
    load_ir,
    runtime_text,
)

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_BEAT_EVERY_S = 1.0
WARM_UP_WITHIN_S = 30.0  # a stick takes a third of a second for one inference

Answer = Callable[[str, dict[str, object]], None]


def main(agent: int) -> None:
    """Does what one line on stdin asks, and ends at once: what runtimes do while they are unloaded is left out.

    Args:
        agent: number of the process that waits for the answers.
    """
    answers = os.dup(1)
    os.dup2(2, 1)
    _end_with(agent)
    gc.disable()
    request = Request.from_line(sys.stdin.buffer.readline(MAX_REQUEST_BYTES))

    def answer(stage: str, members: dict[str, object]) -> None:
        line = canonical_json({"stage": stage, **members}) + b"\n"
        while line:  # a pipe takes a long line in parts
            line = line[os.write(answers, line) :]

    try:
        run(request, answer)
        answer(END, {})
    except tuple(TOLD_ERRORS.values()) as error:
        kind = next(name for name, told in TOLD_ERRORS.items() if isinstance(error, told))
        answer(ERROR, {"kind": kind, "words": str(error)[:MAX_TEXT]})
    os._exit(0)


def run(request: Request, answer: Answer) -> None:
    """Does what is asked and answers stage by stage.

    Raises:
        SettingsError: the runtime cannot be imported, or never knows a device.
        DeviceMissingError: the device is not there now.
        ContractError: the runtime cannot read, compile or run the network, or its input is not what was wanted.
    """
    answer(RUNTIME, {"text": runtime_text()})
    for device in request.devices:
        check_device_kind(device)
    for device in request.present:
        check_device(device)
    if request.network is not None:
        _measure(request.network, answer)


def _measure(network: Network, answer: Answer) -> None:
    model = _load(network, network.ir_xml)
    loaded = {"load_ms": model.load_ms, "input_shape": model.input_shape}
    answer(LOADED, {**loaded, "precision": model.precision, "threads": model.threads})
    if network.input_shape and model.input_shape != network.input_shape:  # its time would be that of another network
        raise ContractError(
            f"{Path(network.ir_xml).name}: got a network whose input is {list(model.input_shape)}, wanted "
            f"{list(network.input_shape)}, as the manifest says"
        )
    if network.golden is not None and network.tolerance is not None:
        from infra.device.measuring.golden import check_golden  # imports numpy, which comes with the runtime

        golden = Golden(Path(network.golden).name, network.tolerance)
        check = check_golden(model, Path(network.golden), golden)
        answer(GOLDEN, {"golden": asdict(check)})
        if check.worst_difference > check.tolerance:
            return
    beat = _Beat(answer)
    gc.collect()  # `main` lets nothing be collected while it measures
    before = machine_conditions()
    warm_up_ms = warm_up(_with_beat(model, beat), least=network.warm_up, most_s=WARM_UP_WITHIN_S)
    samples_ms = [_one_ms(model, beat) for _ in range(network.repeats)]
    after = machine_conditions()
    if model.threads is not None:
        before["inference_threads_count"] = model.threads
    times = {"warm_up_ms": warm_up_ms, "samples_ms": samples_ms}
    answer(DONE, {**times, "conditions": before, "conditions_after": after})
    if network.former_id is not None and network.former_xml is not None:
        try:
            found = _compared(network, model, network.former_id, network.former_xml, beat)
            answer(COMPARED, {"comparison": asdict(found)})
        except InfraError as error:
            answer(NOT_COMPARED, {"words": str(error)[:MAX_TEXT]})


def _load(network: Network, ir_xml: str) -> LoadedModel:
    device = device_of(network.target)
    if device != "CPU":
        return load_ir(Path(ir_xml), device=device)
    return load_ir(Path(ir_xml), device=device, threads=network.threads, precision="f32")


def _with_beat(model: LoadedModel, beat: _Beat) -> Callable[[], None]:
    """One inference, and before it the beat: of two networks that run in turns it meets both alike."""

    def run_once() -> None:
        beat()
        model.run_once()

    return run_once


def _one_ms(model: LoadedModel, beat: _Beat) -> float:
    beat()
    return measure(model.run_once, warm_up=0, repeats=1).samples_ms[0]


def _compared(network: Network, model: LoadedModel, former_id: str, former_xml: str, beat: _Beat) -> Comparison:
    former = _load(network, former_xml)

    beat.now()
    rounds = min(network.repeats, COMPARED_ROUNDS)
    samples = measure_interleaved(
        {"new": _with_beat(model, beat), "old": _with_beat(former, beat)}, warm_up=network.warm_up, rounds=rounds
    )
    return comparison(former_id, samples["new"].samples_ms, samples["old"].samples_ms)


class _Beat:
    """Says at most once a second that no inference hangs; the first time at once."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._due_s = 0.0

    def __call__(self) -> None:
        if time.monotonic() >= self._due_s:
            self.now()

    def now(self) -> None:
        self._answer(BEAT, {})
        self._due_s = time.monotonic() + _BEAT_EVERY_S


def _end_with(agent: int) -> None:
    """Lets the kernel kill this process when the agent ends, and before the agent when memory runs out; no core."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != agent:
        sys.exit(f"started by process {os.getppid()}, wanted {agent}: the agent has ended, or its Python is a wrapper")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):  # no such file outside of Linux's own /proc
        Path("/proc/self/oom_score_adj").write_text("1000")
