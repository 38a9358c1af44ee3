"""README names every verb of the command line and every make target that it should."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tasks.cli.pruning_flags import FLAGS_OF

PROJECT = Path(__file__).resolve().parents[2]
README = (PROJECT / "README.md").read_text()


def test_readme_shows_every_verb_of_modnet() -> None:
    usage = subprocess.run([sys.executable, "-m", "tasks.cli", "--help"], capture_output=True, text=True, check=True)
    verbs = re.findall(r"^    ([a-z]+)(?: |$)", usage.stdout, re.MULTILINE)
    assert len(verbs) >= 10
    for verb in verbs:
        assert f"modnet {verb}" in README, verb


def test_readme_shows_every_policy_of_modnet_prune_and_every_flag_of_it() -> None:
    for policy, flags in FLAGS_OF.items():
        assert f"| `{policy}` |" in README
        for flag in flags:
            assert f"`--{flag.replace('_', '-')}" in README, flag


def test_readme_speaks_only_of_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    used = set(re.findall(r"`make ([a-z-]+)", README)) | set(re.findall(r"^make ([a-z-]+)", README, re.MULTILINE))
    assert {"nightly", "test"} <= used <= targets
