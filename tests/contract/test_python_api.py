"""`modnet.api`: its page runs, its names are the product's own functions, and it costs nothing to import."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import modnet.api

PROJECT = Path(__file__).resolve().parents[2]
PAGE = (PROJECT / "docs" / "python-api.md").read_text()
HEAVY = {"torch", "numpy", "cv2", "openvino", "onnx", "nncf", "matplotlib", "pydantic", "PIL", "av"}


def imported_from(*trees: ast.AST) -> set[tuple[str, str]]:
    """Module and name of each `from module import name`."""
    return {
        (str(node.module), one.name)
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for one in node.names
    }


def calls_of(source: str) -> set[str]:
    """Names that a file calls."""
    calls = (node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return {function.id for function in calls if isinstance(function, ast.Name)}


def test_the_page_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 6
    torch.manual_seed(0)
    names: dict[str, object] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"docs/python-api.md, block {number + 1}", "exec"), names)
    assert len(list((tmp_path / "notebook" / "cut-outs").glob("*.png"))) == 2


def test_the_page_names_everything_there_is_and_nothing_else() -> None:
    table = PAGE.partition("## All names")[2]
    assert set(re.findall(r"`(\w+)`", table)) == set(modnet.api.__all__) == set(dir(modnet.api))


def test_every_function_is_one_that_tasks_or_workloads_call_as_well() -> None:
    """There is no second way beside the command line's and the pipeline's."""
    folders = (PROJECT / "tasks", PROJECT / "modnet" / "workloads")  # tasks call a workload's by its `Workload`
    called = imported_from(*(ast.parse(path.read_text()) for folder in folders for path in folder.rglob("*.py")))
    for name, module in modnet.api._HOMES.items():
        value = getattr(modnet.api, name)
        assert value is getattr(importlib.import_module(module), name)
        if inspect.isfunction(value) or inspect.isclass(value):
            assert value.__module__ == module, f"{name} has its home elsewhere"
        if inspect.isfunction(value):
            assert (module, name) in called or name in calls_of(inspect.getsource(sys.modules[module]))


def test_importing_it_imports_nothing_that_computes() -> None:
    program = "import sys, modnet, modnet.api\nprint(*(name for name in sys.modules if '.' not in name))"
    result = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(result.stdout.split())


def test_a_name_that_needs_an_extra_says_which_one() -> None:
    program = """
import sys
sys.modules["torch"] = None
from modnet.api import IrPredictor, infer_images
from modnet.errors import MissingExtraError
try:
    from modnet.api import load
except MissingExtraError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert result.stdout == "modnet.api.load needs torch, which is not installed: pip install 'modnet-edge[train]'\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"'modnet\.api' has no attribute 'lod'"):
        modnet.api.lod  # noqa: B018
