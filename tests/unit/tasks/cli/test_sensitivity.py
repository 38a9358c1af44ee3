"""`modnet sensitivity`: measuring, sharing the work out, and the plan that follows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., dict]
Refuse = Callable[..., tuple[int, str]]

NARROW = ("--channel-multiple", 2, "--min-channels", 2)
FEW_GROUPS = ("--exclude", "backbone.*,detail.h*")
SMALL = ("--images", 1, "--short-side", 32, *FEW_GROUPS)


def test_sensitivity_of_several_runs_is_merged_into_a_plan_that_prune_repeats(
    archive: Path, checkpoint: Path, tmp_path: Path, run: Run
) -> None:
    measure = ("sensitivity", "--checkpoint", checkpoint, "--dataset", archive, *SMALL)
    one = run(*measure, "--ratios", "0.3,0.6", "--out", tmp_path / "one")
    other = run(*measure, "--ratios", "0.8", "--out", tmp_path / "other")
    files = (one["sensitivities"], other["sensitivities"])
    merge = ("sensitivity", "--checkpoint", checkpoint, "--merge", *files, *NARROW, "--max-macs", "600M")
    merged = run(*merge, "--out", tmp_path / "merged")
    assert {tuple(curve["losses"]) for curve in merged["curves"]} == {("0.3", "0.6", "0.8")}
    assert Path(merged["plot"]).read_bytes().startswith(b"\x89PNG")

    pruned = run("prune", "--checkpoint", checkpoint, "--plan", merged["plan"], "--out", tmp_path / "pruned")
    assert (pruned["parameters"], pruned["macs"]) == (merged["parameters"], merged["macs"])
    assert pruned["macs"] <= 600_000_000


def test_sensitivity_measures_nothing_twice(
    archive: Path, checkpoint: Path, tmp_path: Path, run: Run, refuse: Refuse
) -> None:
    measure = ("sensitivity", "--checkpoint", checkpoint, "--dataset", archive, *SMALL, "--out", tmp_path / "out")
    first = Path(run(*measure, "--ratios", "0.5")["sensitivities"])
    whole = first.read_bytes()
    cut = whole[: whole.rindex(b"\n", 0, -1) + 9]  # killed within the last line
    first.write_bytes(cut)
    (first.parent / "plan.json").unlink()
    code, error = refuse(*measure, "--ratios", "0.5")
    assert (code, "sensitivity.png is there already" in error) == (3, True), error
    run(*measure, "--ratios", "0.5", "--overwrite")
    assert first.read_bytes() == whole


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        ("", 2, "say what to look at"),
        ("--merge a.jsonl --ratios 0.3", 2, "--ratios would do nothing"),
        ("--merge a.jsonl --max-macs 1G --allowed-loss 0.1", 2, "--allowed-loss would do nothing"),
        ("--dataset {archive} --criterion taylor --aggregate max", 2, "--aggregate would do nothing"),
        ("--merge a.jsonl", 3, "a.jsonl: no such file"),
        ("--dataset {archive} --ratios 0.3,1.5", 3, "ratios must be above 0 and below 1, got [1.5]"),
        ("--dataset {archive} --images 0", 3, "--images 0"),
        ("--dataset {archive} --exclude nothing", 3, "pattern 'nothing' names no prunable group"),
    ],
    ids=["nothing", "merge measures", "two losses", "aggregate", "no file", "ratio", "no images", "pattern"],
)
def test_sensitivity_says_what_is_wrong(
    flags: str, code: int, message: str, archive: Path, checkpoint: Path, tmp_path: Path, refuse: Refuse
) -> None:
    given = flags.format(archive=archive).split()
    found = refuse("sensitivity", "--checkpoint", checkpoint, *given, "--out", tmp_path / "out")
    assert found[0] == code
    assert message in found[1]


def test_sensitivity_refuses_results_of_another_ranking(
    archive: Path, checkpoint: Path, tmp_path: Path, run: Run, refuse: Refuse
) -> None:
    measure = ("sensitivity", "--checkpoint", checkpoint, "--dataset", archive, *SMALL, "--ratios", "0.5")
    measured = run(*measure, "--out", tmp_path / "one")["sensitivities"]
    merge = ("sensitivity", "--checkpoint", checkpoint, "--merge", measured, "--out", tmp_path / "merged")
    code, error = refuse(*merge, "--criterion", "l2")
    assert code == 3
    assert "rank channels by 'l1, sum', the flags by 'l2, sum'" in error
