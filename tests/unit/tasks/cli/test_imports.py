"""Help comes without torch and its like, and a verb imports what it uses."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.cli import VERBS

PROJECT = Path(__file__).resolve().parents[4]
HEAVY = {"torch", "numpy", "cv2", "openvino", "onnx", "nncf", "matplotlib", "prefect", "ray", "boto3", "PIL", "av"}


def imported(program: str) -> list[list[str]]:
    """The names in each line of JSON that a program in a fresh process prints."""
    result = subprocess.run(
        [sys.executable, "-c", f"import json, sys\n{program}"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("[")]


def test_help_of_all_verbs_imports_nothing_that_computes() -> None:
    """Bare help does without the settings' models as well; that of a verb reads its defaults from them."""
    bare, *of_verbs = imported(f"""
from tasks.cli import main
for words in ([], *(name.split() for name in {list(VERBS)})):
    try:
        main([*words, "--help"])
    except SystemExit:
        print("\\n" + json.dumps([name for name in sys.modules if "." not in name]))
""")
    assert len(of_verbs) == len(VERBS)
    assert "pydantic" not in bare
    assert all(HEAVY.isdisjoint(names) for names in (bare, *of_verbs))


def test_flags_of_what_works_at_once_do_without_pydantic() -> None:
    (names,) = imported("""
import argparse
from tasks.cli import VERBS
for verb in VERBS.values():
    if verb.flags == "light_verbs":
        verb.add_flags(argparse.ArgumentParser())
print(json.dumps([name for name in sys.modules if "." not in name]))
""")
    assert HEAVY.union({"pydantic"}).isdisjoint(names)
    assert [name for name, verb in VERBS.items() if verb.flags == "light_verbs"] == [
        *("evaluate", "infer", "benchmark", "device reports", "history", "support-bundle")
    ]


@pytest.mark.parametrize(
    ("verbs", "allowed"),
    [
        (["config", "support-bundle"], set()),
        (["device reports", "history"], {"numpy"}),
        (["release show", "release list", "keys show"], {"numpy", "boto3"}),  # tuf looks for key services of clouds
        (["dataset fetch"], {"numpy", "cv2"}),
        (["benchmark"], {"numpy", "openvino"}),
        (["infer"], {"numpy", "cv2", "PIL"}),
        (["evaluate"], {"numpy", "cv2", "PIL"}),
        (["prune", "inspect"], {"numpy", "cv2", "torch", "PIL"}),
        (["train", "retrain", "adapt", "sensitivity"], {"numpy", "cv2", "torch", "matplotlib", "PIL"}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_verb_imports_what_it_uses(verbs: list[str], allowed: set[str]) -> None:
    """Before it is known what it shall do; the first of its kind that is asked for brings the rest."""
    (names,) = imported(f"""
from tasks.cli import VERBS
for verb in {verbs}:
    VERBS[verb].function()
print(json.dumps([name for name in sys.modules if "." not in name]))
""")
    assert HEAVY & set(names) <= allowed


def test_every_verb_has_its_flags_and_a_function_that_does_its_work() -> None:
    for verb in VERBS.values():
        verb.add_flags(argparse.ArgumentParser())
        assert callable(verb.function())
