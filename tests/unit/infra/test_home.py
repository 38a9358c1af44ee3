from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
WITHOUT_A_NAME = """
import os, pwd
def unknown(uid):
    raise KeyError(uid)
pwd.getpwuid = unknown
import infra
print(os.environ["HOME"])
"""


@pytest.mark.parametrize(("environ", "home"), [({}, "/nonexistent"), ({"HOME": "/home/of-mine"}, "/home/of-mine")])
def test_a_user_without_a_name_has_a_home_that_nobody_writes_to(environ: dict[str, str], home: str) -> None:
    command = [sys.executable, "-c", WITHOUT_A_NAME]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == home
