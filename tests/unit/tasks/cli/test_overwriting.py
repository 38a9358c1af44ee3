"""No verb replaces what an earlier run wrote, unless it is told to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modnet.checkpoint import save_checkpoint
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from tasks.cli import main

Refuse = Callable[..., tuple[int, str]]


@pytest.mark.parametrize(
    ("command", "result"),
    [
        ("prune --checkpoint {tiny} --out {tmp}", "pruned.safetensors"),
        ("prune --checkpoint {tiny} --out {tmp}", "plan.json"),
        ("train --dataset none.zip --out {tmp}/x.safetensors", "x.safetensors"),
        ("retrain --checkpoint {tiny} --dataset none.zip --out {tmp}/x.safetensors", "x.training.jsonl"),
        ("adapt --checkpoint {tiny} --images none --out {tmp}/x.safetensors", "x.safetensors"),
        ("sensitivity --checkpoint {tiny} --dataset none.zip --out {tmp}", "plan.json"),
        ("export --checkpoint {tiny} --out {tmp}", "model.onnx"),
        ("optimize --onnx none/model.onnx --targets cpu-fp32,cpu-fp16 --out {tmp}", "model-cpu-fp16.xml"),
        ("evaluate --checkpoint {tiny} --dataset none.zip --scores {tmp}/scores.json", "scores.json"),
        ("evaluate --checkpoint {tiny} --dataset none.zip --sheet {tmp}/worst.png", "worst.png"),
        ("inspect --checkpoint {tiny} --picture {tmp}/channels.png", "channels.png"),
        ("infer --checkpoint {tiny} --input {tmp}/photos --out {tmp}", "photo.png"),
    ],
    ids=lambda value: value.split()[0],
)
def test_a_verb_refuses_to_replace_an_earlier_result_before_it_reads_its_data(
    command: str, result: str, checkpoint: Path, tmp_path: Path, refuse: Refuse
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "photo.jpg").write_bytes(b"not read")
    there = tmp_path / result
    there.write_bytes(b"an earlier result")
    code, error = refuse(*command.format(tiny=checkpoint, tmp=tmp_path).split())
    assert (code, f"{there} is there already: choose another place" in error) == (3, True), error
    assert there.read_bytes() == b"an earlier result"


@pytest.mark.parametrize(
    ("command", "result"),
    [
        ("prune --checkpoint {tiny} --out {tmp}", "plan.json"),
        ("export --checkpoint {tiny} --out {tmp} --size 64", "model.onnx"),
        ("inspect --checkpoint {tiny} --picture {tmp}/channels.png", "channels.png"),
    ],
    ids=lambda value: value.split()[0],
)
def test_a_verb_replaces_an_earlier_result_when_told_to(
    command: str, result: str, checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / result).write_bytes(b"an earlier result")
    assert main([*command.format(tiny=checkpoint, tmp=tmp_path).split(), "--overwrite"]) == 0
    assert (tmp_path / result).read_bytes() != b"an earlier result"


def test_prune_refuses_to_replace_the_files_of_the_seed(tmp_path: Path, refuse: Refuse) -> None:
    full = save_checkpoint(MODNet(ModnetSpec.full()), tmp_path / "full.safetensors", {})
    there = tmp_path / "modnet_p_ratio_0.0_thresh_0.01.json"
    there.write_text("{}")
    flags = ("--policy", "modelcompression", "--backbone-threshold", 0.01, "--global-ratio", 0, "--out", tmp_path)
    code, error = refuse("prune", "--checkpoint", full, *flags)
    assert (code, f"{there} is there already" in error) == (3, True), error


def test_prune_in_steps_refuses_a_flag_that_would_do_nothing(checkpoint: Path, tmp_path: Path, refuse: Refuse) -> None:
    flags = ("--policy", "budget", "--max-macs", "1G", "--iterations", 2, "--dataset", "none.zip", "--overwrite")
    code, error = refuse("prune", "--checkpoint", checkpoint, *flags, "--out", tmp_path)
    assert (code, "--overwrite would do nothing" in error) == (2, True), error
