"""What is not there is not verified, whatever else is true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modnet.errors import ExportError
from modnet.export.legacy_runtimes import LegacyRuntime, verify_on_legacy
from modnet.export.onnx_to_openvino import convert_ir
from modnet.graph_function import TorchGraph
from modnet.targets import VARIANTS

IMAGES = [np.zeros((1, 3, 8, 8), np.float32)]


def test_verify_on_legacy_says_not_verified_when_nothing_is_installed(exported, tmp_path: Path) -> None:
    ir = convert_ir(exported.onnx_path, tmp_path, targets=["ncs2-fp16"])["ncs2-fp16"]
    checks = verify_on_legacy(ir.xml, VARIANTS["ncs2-fp16"], TorchGraph(exported.network), IMAGES, tmp_path)
    assert [check.by for check in checks] == [
        "OpenVINO 2021.4.2",
        "OpenVINO 2022.3.2",
        "compiler of MYRIAD, OpenVINO 2021.4.2",
    ]
    assert {check.status for check in checks} == {"not verified"}
    assert all("make legacy-runtimes" in check.words for check in checks)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'Error: no room' >&2; exit 3", "cannot run x.xml: Error: no room"),
        ("exit 9", "cannot run x.xml: exit code 9"),
    ],
    ids=["words", "silent"],
)
def test_run_raises_with_the_last_words_when_the_runtime_ends_badly(tmp_path: Path, script: str, message: str) -> None:
    python = tmp_path / "python3.9"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    with pytest.raises(ExportError, match=message):
        LegacyRuntime(tmp_path, "2021.4.2").run(tmp_path / "x.xml", IMAGES[0])


def test_run_raises_when_the_interpreter_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "python3.9").write_text("not executable")
    with pytest.raises(ExportError, match="does not start: Permission denied"):
        LegacyRuntime(tmp_path, "2021.4.2").run(tmp_path / "x.xml", IMAGES[0])
