"""Where the script finds a Debian mirror; that it then installs is held by make legacy-runtimes."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "infra" / "legacy_runtimes.sh"
# Knows no mirror by itself; shows the sources of whoever asks for more, and fails.
APT_GET = """#!/bin/bash
[ "$1" = indextargets ] && exit 0
for argument; do case $argument in Dir::Etc=*) cat "${argument#*=}/sources.list" >&2; esac; done
exit 100
"""

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or not Path("/usr/share/keyrings/debian-archive-keyring.gpg").exists(),
    reason="the script is for Debian on x86_64",
)


def _run(folder: Path, sed: str) -> subprocess.CompletedProcess[str]:
    """Runs the script with an apt-get that knows nothing, and with this sed for its look into the sources."""
    stubs = folder / "stubs"
    stubs.mkdir()
    for name, content in {"apt-get": APT_GET, "sed": f"#!/bin/bash\n{sed}\n"}.items():
        (stubs / name).write_text(content)
        (stubs / name).chmod(0o755)
    environ = {**os.environ, "PATH": f"{stubs}:{os.environ['PATH']}"}
    environ.pop("PYTHON39", None)
    command = ["bash", str(SCRIPT), str(folder / "legacy")]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def test_the_script_says_what_to_do_when_no_mirror_is_known(tmp_path: Path) -> None:
    done = _run(tmp_path, "exit 2")  # as when one of the files is missing
    assert done.returncode == 1
    assert done.stderr == "legacy runtimes: apt knows no Debian mirror: name a Python 3.9 by PYTHON39=\n"


def test_the_script_takes_the_mirror_of_the_sources_when_apt_names_none(tmp_path: Path) -> None:
    done = _run(tmp_path, "echo http://mirror/debian; exit 2")
    assert "http://mirror/debian bullseye main" in done.stderr
    assert list((tmp_path / "legacy").iterdir()) == []
