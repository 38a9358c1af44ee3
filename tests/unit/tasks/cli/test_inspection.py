"""`modnet inspect`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import tasks.cli
from modnet.workloads.matting.checkpoint import load
from tasks.cli import main

Run = Callable[..., dict]
Refuse = Callable[..., tuple[int, str]]

NARROW = ("--channel-multiple", 2, "--min-channels", 2)


@pytest.fixture
def pruned(checkpoint: Path, tmp_path: Path, run: Run) -> Path:
    return Path(run("prune", "--checkpoint", checkpoint, *NARROW, "--out", tmp_path / "pruned")["checkpoint"])


def test_inspect_compares_with_what_the_checkpoint_remembers(checkpoint: Path, pruned: Path, run: Run) -> None:
    remembered = run("inspect", "--checkpoint", pruned)
    assert remembered == run("inspect", "--checkpoint", pruned, "--against", checkpoint)
    assert remembered["before"]["parameters"] == run("inspect", "--checkpoint", checkpoint)["parameters"]
    changes = remembered["changes"]["fusion.f2x"]
    assert sum(changes["after"]) < sum(changes["before"])
    assert changes["after"] == remembered["groups"]["fusion.f2x"]["parts"]


def test_inspect_says_nothing_of_before_when_nobody_knows(checkpoint: Path, run: Run) -> None:
    assert "before" not in run("inspect", "--checkpoint", checkpoint)


def test_inspect_prints_totals_first_then_groups_and_layers(pruned: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["inspect", "--checkpoint", str(pruned)]) == 0
    totals, groups, layers = capsys.readouterr().out.strip().split("\n\n")
    assert totals.splitlines()[2].startswith("| **deployed graph** |")
    assert groups.startswith("| group | before | after | left |")
    assert "| semantic.lr16x |" in groups
    assert layers.startswith("| layer | parameters before |")


def test_inspect_shows_the_shape_of_every_tensor_when_asked(
    checkpoint: Path, run: Run, capsys: pytest.CaptureFixture
) -> None:
    shapes = {name: list(tensor.shape) for name, tensor in load(checkpoint).state_dict().items()}
    assert run("inspect", "--checkpoint", checkpoint)["tensors"] == shapes
    assert main(["inspect", "--checkpoint", str(checkpoint), "--tensors"]) == 0
    tensors = capsys.readouterr().out.strip().split("\n\n")[-1].splitlines()
    assert tensors[0] == "| tensor | shape | groups |"
    assert len(tensors) == 2 + len(shapes)


def test_inspect_ends_quietly_when_its_reader_has_seen_enough(checkpoint: Path) -> None:
    command = [sys.executable, "-m", "tasks.cli", "inspect", "--checkpoint", str(checkpoint)]
    environment = {**os.environ, "PYTHONPATH": str(Path(tasks.cli.__file__).parents[2])}
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_inspect_draws_a_picture(pruned: Path, tmp_path: Path, run: Run) -> None:
    run("inspect", "--checkpoint", pruned, "--picture", tmp_path / "new" / "channels.png")
    assert (tmp_path / "new" / "channels.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("flags", "message"),
    [(("--size", 100), "multiple of 32"), (("--against", "nothing.ckpt"), "cannot read checkpoint nothing.ckpt")],
    ids=["size", "against"],
)
def test_inspect_says_what_is_wrong(flags: tuple, message: str, checkpoint: Path, refuse: Refuse) -> None:
    code, error = refuse("inspect", "--checkpoint", checkpoint, *flags)
    assert code == 3
    assert message in error
