"""The command line on small synthetic portraits and a tiny network."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from modnet.checkpoint import save_checkpoint
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from tasks.cli import main

Run = Callable[..., dict[str, Any]]
Refuse = Callable[..., tuple[int, str]]


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODNET_CACHE", str(tmp_path / "cache"))
    return write_synthetic_archive(tmp_path / "portraits.zip", train=7, val=2, size=(96, 64), seed=0)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    return save_checkpoint(MODNet(ModnetSpec.tiny()), tmp_path / "tiny.safetensors", {"made": "here"})


@pytest.fixture
def run(capsys: pytest.CaptureFixture) -> Run:
    """Runs a verb that must succeed, and returns what it printed as JSON."""

    def run(*arguments: object) -> dict[str, Any]:
        code = main([*map(str, arguments), "--json"])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return json.loads(captured.out)

    return run


@pytest.fixture
def refuse(capsys: pytest.CaptureFixture) -> Refuse:
    """Runs a verb that must fail, and returns its exit code and its one line of error."""

    def refuse(*arguments: object) -> tuple[int, str]:
        code = main([*map(str, arguments)])
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("modnet: error: ")
        assert captured.err.count("\n") == 1
        return code, captured.err

    return refuse
