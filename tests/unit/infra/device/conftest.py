"""A tiny real IR, and children without processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino
import pytest
from openvino import opset8

from infra.device.agent.child import MAX_ANSWER_BYTES, Take
from infra.device.agent.settings import Deadlines, RuntimeSettings
from infra.device.documents.canonical_json import canonical_json
from infra.device.documents.json_object import parse_json
from infra.device.measuring import child
from infra.device.measuring.request import Request


@pytest.fixture
def ir_xml(tmp_path: Path) -> Path:
    """An IR that doubles its input `input` of shape (1, 3, 8, 8)."""
    image = opset8.parameter([1, 3, 8, 8], np.float32, name="input")
    two = opset8.constant(np.full((1, 3, 1, 1), 2.0, np.float32))
    network = openvino.Model([opset8.multiply(image, two)], [image], "doubled")
    path = tmp_path / "cpu-fp32.xml"
    openvino.save_model(network, path, compress_to_fp16=False)
    return path


@pytest.fixture
def children_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent's children do their work within this process: starting one takes longer than most tests."""

    def run_child(runtime: RuntimeSettings, request: Request, deadlines: Deadlines, take: Take) -> None:
        def answer(stage: str, members: dict[str, object]) -> None:
            line = canonical_json({"stage": stage, **members})
            take(stage, parse_json(line, "answer", max_bytes=MAX_ANSWER_BYTES))

        child.run(Request.from_line(request.to_line()), answer)

    monkeypatch.setattr("infra.device.agent.agent.run_child", run_child)
    monkeypatch.setattr("infra.device.agent.runtimes.run_child", run_child)
