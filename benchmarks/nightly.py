"""Wall time and peak memory of `make nightly`, run twice: the second run asks the same question. Linux.

python -m benchmarks.nightly [-- DATASET=... BASE=... PROFILE=... PRUNING=...]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from infra.local_stack.environments import MARKER
from infra.local_stack.processes import processes_with

PROJECT = Path(__file__).resolve().parents[1]
FOLDER = PROJECT / ".modnet"
SAMPLE_S = 1.0
# make and what it starts carry this variable; services, flows and Ray carry the stack's own.
CHILD = "NIGHTLY_BENCHMARK"


class Run(NamedTuple):
    """One run of the command; `peak_bytes` is the largest sample of its memory."""

    wall_s: float
    peak_bytes: int
    exit_code: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs twice, prints the table and returns 0 when both runs were good, else 1."""
    parser = argparse.ArgumentParser(description="Wall time and peak memory of `make nightly`, run twice.")
    parser.add_argument("make_arguments", nargs="*", metavar="NAME=VALUE", help="for make, after --")
    options = parser.parse_args(arguments)
    runs: list[Run] = []
    for name in ("first", "second"):
        log = FOLDER / "log" / f"nightly-{name}.log"
        runs.append(measure(["make", "nightly", *options.make_arguments], log))
        if runs[-1].exit_code:
            print(f"the {name} run failed, its output: {log}", file=sys.stderr)
            break
    print("\n".join(table(runs)))
    return int(any(run.exit_code for run in runs))


def measure(command: Sequence[str], log: Path) -> Run:
    """Runs a command in the project folder to its end, and samples its memory meanwhile.

    Args:
        command: program and arguments.
        log: file that its output replaces.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    mark = str(os.getpid())
    peak = 0
    started_at = time.monotonic()
    with (
        open(log, "wb") as output,
        subprocess.Popen(
            command,
            cwd=PROJECT,
            env={**os.environ, CHILD: mark},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as child,
    ):
        while True:
            with suppress(subprocess.TimeoutExpired):
                exit_code = child.wait(timeout=SAMPLE_S)
                return Run(time.monotonic() - started_at, peak, exit_code)
            peak = max(peak, memory(mark))


def memory(mark: str) -> int:
    """Bytes of all processes of the stack and of the measured command; each shared page counts once."""
    found = {*processes_with(CHILD, mark), *processes_with(MARKER, str(FOLDER))}
    return sum(proportional_bytes(process.pid) for process in found)


def proportional_bytes(pid: int) -> int:
    """PSS of a process: its own pages, and its part of those that it shares; 0 once it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def table(runs: Sequence[Run]) -> list[str]:
    """The runs as lines of a Markdown table, one column each."""
    rows = [
        ["", *["first run", "second run, same question"][: len(runs)]],
        ["---", *["---:" for _ in runs]],
        ["wall time", *[f"{run.wall_s:.0f} s" for run in runs]],
        ["peak memory", *[f"{run.peak_bytes / 1e9:.2f} GB" for run in runs]],
        ["exit code", *[str(run.exit_code) for run in runs]],
    ]
    return [f"| {' | '.join(row)} |" for row in rows]


if __name__ == "__main__":
    sys.exit(main())
