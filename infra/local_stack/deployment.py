"""How Prefect gets to know the flows of a project, and how a change of them is seen."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.errors import StackError

_DONE_WITHIN_S = 300.0


def run_prefect(arguments: Sequence[str], *, project: Path, environ: Mapping[str, str]) -> None:
    """Runs Prefect's command line in the folder of `prefect.yaml`.

    Raises:
        StackError: it fails or does not end; shows the end of what it printed.
    """
    command = [sys.executable, "-m", "prefect", *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=project,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_DONE_WITHIN_S,
            check=False,
            umask=0o077,
        )
    except subprocess.TimeoutExpired as error:
        raise StackError(f"prefect {' '.join(arguments)}: not done after {_DONE_WITHIN_S:g} s") from error
    if done.returncode:
        output = (done.stdout + done.stderr).strip()[-3000:]
        raise StackError(f"prefect {' '.join(arguments)} in {project}: exit code {done.returncode}: {output}")


def digest_of_project(project: Path) -> str:
    """SHA-256 over all that a deployment holds: the project's folder, its `prefect.yaml` and every Python file.

    Hidden folders are left out.
    """
    digest = hashlib.sha256(f"{project.resolve()}\0".encode())
    for folder, folders, names in os.walk(project):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.endswith(".py") or name == "prefect.yaml":
                path = Path(folder) / name
                digest.update(f"{path.relative_to(project)}\0".encode() + path.read_bytes())
    return digest.hexdigest()
