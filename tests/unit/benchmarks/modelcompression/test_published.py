"""One command plans, retrains, times and reports; what it has done it does not do again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.modelcompression import published
from benchmarks.modelcompression.figures import PUBLISHED
from benchmarks.retraining.results import LATENCY
from modnet.checkpoint import save_checkpoint
from modnet.errors import ConfigError
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec

KEPT = ("plans/*.json", "results/*.json", "weights/*.safetensors", "irs/*.bin", "tables.md")


def _left(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for pattern in KEPT for path in folder.glob(pattern)}


@pytest.mark.slow  # quantises and trains, if little
def test_tiny_tables_are_made_end_to_end_and_a_killed_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    command = ["--tiny", "--threads", "1", "--out", str(tmp_path)]

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(published, "measured", killed)
        with pytest.raises(KeyboardInterrupt):
            published.main(command)
    before = _left(tmp_path)
    assert {path.stem for path in before if path.parent.name == "plans"} == {"headline", "branches", "everything"}

    assert published.main(command) == 0
    after = _left(tmp_path)
    assert {path: after[path] for path in before} == before
    tables = (tmp_path / "tables.md").read_text()
    assert tables in capsys.readouterr().out
    for title in ("## Size and error, before and after", "## Latency by device and runtime", "## Ways of retraining"):
        assert f"{title}\n\n" in tables
    assert f"| FP32 file, MB | {PUBLISHED[0].megabytes} → {PUBLISHED[1].megabytes} (-77.9%) | " in tables
    assert tables.count("\n| branches | ") == tables.count("\n| everything | ") == 2
    measured = json.loads((tmp_path / "results" / f"{LATENCY}.json").read_text())
    assert {name.partition(" ")[0] for name in measured["rows"]} == {"unpruned", "headline"}

    assert published.main(command) == 0
    assert _left(tmp_path) == after


@pytest.mark.parametrize("given", [["--tiny", "--base", "x"], [], ["--dataset", "x"]])
def test_own_data_and_tiny_data_do_not_mix(given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        published.main([*given, "--out", str(tmp_path / "out")])
    assert "--dataset and --base" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_results_of_another_base_are_refused_before_anything_is_computed(tmp_path: Path) -> None:
    torch.manual_seed(0)
    base = save_checkpoint(MODNet(ModnetSpec.tiny()), tmp_path / "base.safetensors", {})
    portraits = write_synthetic_archive(tmp_path / "portraits.zip", train=7, val=2, size=(72, 64), seed=0)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "asked.json").write_text(json.dumps({"dataset": "0", "base": "0", "tiny": False}))
    command = ["--dataset", str(portraits), "--base", str(base), "--out", str(tmp_path / "out")]
    with pytest.raises(ConfigError, match="asked.json was made with other dataset, base: name another --out"):
        published.main(command)
