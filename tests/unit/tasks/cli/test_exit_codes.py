"""Every error has the exit code that docs/command-line.md promises, and its words."""

from __future__ import annotations

import errno
import inspect
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import infra.device.errors
import infra.errors
import modnet.errors
import tasks.cli
from infra.device.errors import InfraError
from modnet.errors import ModnetError
from tasks.cli import main
from tasks.cli.exit_codes import EXIT_CODES, UsageError, exit_code, words

Refuse = Callable[..., tuple[int, str]]

FAILED = {  # the others are of a setting, file or network that cannot be used: 3
    "AccuracyError",
    "ClockError",
    "ConflictError",
    "DigestMismatchError",
    "DiskFullError",
    "ExportError",
    "InfraError",
    "LoadingError",
    "LoweringError",
    "UnsteadyLatencyError",
    "ModnetError",
    "HoursOverError",
    "NotStoredError",
    "OutOfMemoryError",
    "ParityError",
    "ResourcesUnavailableError",
    "StackError",
    "StoreUnavailableError",
    "TrainingDivergedError",
    "UntrustedError",
    "WorkerLostError",
    "ChildLostError",
    "DamagedAnswerError",
    "StoreGoneError",
}


def test_every_error_of_ours_has_its_code() -> None:
    ours = {
        name: one
        for module in (modnet.errors, infra.errors, infra.device.errors)
        for name, one in inspect.getmembers(module, inspect.isclass)
        if issubclass(one, ModnetError | InfraError)
    }
    codes = {name: exit_code(one.__new__(one)) for name, one in ours.items()}
    assert {name for name, code in codes.items() if code == 1} == FAILED
    assert {code for name, code in codes.items() if name not in FAILED} == {3}


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UsageError("two\nlines"), 2, "two\nlines"),
        (FileExistsError(errno.EEXIST, "File exists", "out.jpg"), 3, "cannot use out.jpg: File exists"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 3, "cannot use x: Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device", "x"), 1, "cannot use x: No space left on device"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_errors_of_the_system_have_their_code_and_words(error: BaseException, code: int, said: str) -> None:
    assert (exit_code(error), words(error)) == (code, said)


def test_codes_are_those_of_the_page_and_of_help() -> None:
    page = (Path(tasks.cli.__file__).parents[2] / "docs" / "command-line.md").read_text()
    stated = re.search(r"Exit codes: (0 done, .*?)\.\n", page, re.DOTALL)
    assert stated is not None
    for text in (stated[1], str(tasks.cli.__doc__)):
        assert {int(code) for code in re.findall(r"\b(\d+) [a-z]", text)} == {0, *EXIT_CODES.values()}


@pytest.mark.parametrize(
    "arguments",
    [
        ["infer", "--input", "x.jpg"],
        ["optimize", "--onnx", "x.onnx"],
        ["export", "--checkpoint", "x"],
        ["prune", "--checkpoint", "x"],
        ["sensitivity", "--checkpoint", "x"],
    ],
    ids=lambda arguments: arguments[0],
)
@pytest.mark.parametrize("below", ["", "/sub/folder"], ids=["as-folder", "above-folder"])
def test_a_file_where_a_folder_is_wanted_is_refused_before_anything_is_read(
    arguments: list[str], below: str, tmp_path: Path, refuse: Refuse
) -> None:
    (tmp_path / "file.jpg").write_text("in the way")
    code, said = refuse(*arguments, "--out", f"{tmp_path}/file.jpg{below}")
    assert (code, said) == (
        3,
        f"modnet: error: cannot use {tmp_path}/file.jpg: it is a file, wanted a folder to write into\n",
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--dataset", "x", "--out"],
        ["retrain", "--checkpoint", "x", "--dataset", "x", "--out"],
        ["adapt", "--checkpoint", "x", "--images", "x", "--out"],
        ["inspect", "--checkpoint", "x", "--picture"],
        ["evaluate", "--checkpoint", "x", "--dataset", "x", "--scores"],
        ["evaluate", "--checkpoint", "x", "--dataset", "x", "--sheet"],
        ["benchmark", "--ir", "x", "--picture"],
    ],
    ids=lambda arguments: f"{arguments[0]} {arguments[-1]}",
)
def test_a_folder_where_a_file_is_wanted_is_refused_before_anything_is_read(
    arguments: list[str], tmp_path: Path, refuse: Refuse
) -> None:
    code, said = refuse(*arguments, tmp_path)
    assert (code, said) == (3, f"modnet: error: cannot use {tmp_path}: it is a folder, wanted a file to write\n")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["infer", "--input", "x.jpg", "--out", "y", "--onnx", "a", "--ir", "b"], 2, "exactly one of"),
        (["evaluate", "--dataset", "x.zip", "--checkpoint", "a", "--ir", "b"], 2, "exactly one of"),
        (["evaluate", "--dataset", "x.zip", "--ir", "b", "--prune-info", "c"], 2, "--prune-info would do nothing"),
        (
            ["infer", "--input", "x", "--out", "y", "--onnx", "a", "--prune-info", "c"],
            2,
            "--prune-info would do nothing",
        ),
        (
            ["optimize", "--onnx", "a", "--out", "y", "--dataset", "x.zip", "--prune-info", "c"],
            2,
            "--prune-info would do nothing",
        ),
        (
            ["infer", "--checkpoint", "shipped", "--input", "x.jpg", "--out", "y", "--device", "gpu"],
            3,
            "OpenVINO's devices go with --onnx",
        ),
        (["optimize", "--onnx", "x", "--out", "y", "--targets", "cpu-fp32", "--dataset", "x"], 2, "--dataset would do"),
        (
            ["optimize", "--onnx", "x", "--out", "y", "--targets", "cpu-fp32", "--max-float-layers", "3"],
            2,
            "--max-float-layers would do nothing: none of cpu-fp32 is in 8 bits",
        ),
        (
            ["optimize", "--onnx", "x", "--out", "y", "--dataset", "x", "--quantisation-aware-steps", "3"],
            2,
            "trains the weights of --checkpoint: give both or neither",
        ),
        (["benchmark", "--ir", "x.xml", "x.xml"], 2, "the same file twice"),
        (["prune", "--checkpoint", "x", "--out", "y", "--policy", "budget"], 2, "--max-macs"),
        (["prune", "--checkpoint", "x", "--out", "y", "--criterion", "taylor"], 2, "--dataset"),
        (["sensitivity", "--checkpoint", "x", "--out", "y"], 2, "--dataset measures"),
        (["retrain", "--checkpoint", "x", "--dataset", "x", "--out", "y", "--distill-features", "1"], 2, "--teacher"),
        (["adapt", "--checkpoint", "x", "--images", "x", "--out", "y"], 3, "cannot read checkpoint x"),
        (["train", "--dataset", "x.zip", "--out", "y", "--epochs", "0"], 3, "--epochs 0"),
        (["export", "--checkpoint", "{tiny}", "--out", "y", "--size", "500"], 3, "multiple of 32, got 500"),
        (["inspect", "--checkpoint", "{tiny}", "--size", "500"], 3, "multiple of 32"),
        (["dataset", "fetch", "x.zip"], 3, "x.zip"),
    ],
)
def test_verbs_end_with_the_code_of_what_is_wrong(
    arguments: list[str],
    code: int,
    said: str,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert main([argument.format(tiny=checkpoint) for argument in arguments]) == code
    error = capsys.readouterr().err
    assert said in error, error
    assert error.count("\n") == 1
    assert sorted(path for path in tmp_path.iterdir() if path.name != "y") == before
