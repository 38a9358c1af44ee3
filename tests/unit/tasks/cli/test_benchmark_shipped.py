"""`modnet benchmark --shipped`: all networks of the front, as each IR, in both directions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from modnet.export.onnx_to_openvino import convert_ir
from modnet.export.torch_to_onnx import export_onnx
from modnet.shipped import FRONT, FrontName
from modnet.targets import Target
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.weights import FrontNetwork
from tasks.cli import main

Run = Callable[..., dict[str, Any]]
Refuse = Callable[..., tuple[int, str]]
TARGETS: tuple[Target, ...] = ("cpu-fp32", "cpu-fp16")


@pytest.fixture
def _tiny_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    onnx = export_onnx(MODNet(ModnetSpec.tiny()), tmp_path / "tiny.onnx", size=(96, 64))
    made = convert_ir(onnx, tmp_path, targets=TARGETS, size=(96, 64))

    def tiny(name: FrontName) -> FrontNetwork:
        return FrontNetwork(name, onnx, (96, 64), {target: files.xml for target, files in made.items()})

    monkeypatch.setattr("tasks.cli.benchmark.front_network", tiny)


@pytest.mark.usefixtures("_tiny_front")
def test_every_network_target_and_direction_has_a_row(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    rows = run("benchmark", "--shipped", "--repeats", 2, "--warm-up", 0, "--threads", 1)["rows"]
    got = [(row["network"], row["target"], row["input"]) for row in rows]
    assert got == [(name, target, shape) for name in FRONT for target in TARGETS for shape in ("96×64", "64×96")]
    assert all(float(row["p50 ms"]) > 0 for row in rows)
    assert main(["benchmark", "--shipped", "--repeats", "1", "--warm-up", "0", "--batch", "1,2"]) == 0
    printed = capsys.readouterr().out
    assert "| network | target | input | batch | p50 ms |" in printed
    assert printed.count("| balanced | cpu-fp16 | 64×96 |") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say what to measure: --ir model.xml, or --shipped"),
        (["--shipped", "--ir", "x.xml"], "say what to measure"),
        (["--shipped", "--size", "512"], "--size would do nothing: the shipped networks are measured in their own"),
    ],
)
def test_benchmark_says_what_to_type_instead(arguments: list[str], message: str, refuse: Refuse) -> None:
    code, error = refuse("benchmark", *arguments)
    assert (code, message in error) == (2, True), error
