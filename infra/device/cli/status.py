"""`status`: what the agent has done and has still to do, as its work folder says; asks nobody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from infra.device.agent.lock import holder
from infra.device.agent.seen import read_statuses
from infra.device.cli.config import AgentConfig
from infra.device.cli.last_round import read_last_round


def status_lines(config: AgentConfig) -> Iterator[str]:
    """One line for each thing that is known.

    Raises:
        SettingsError: this user may not read the work folder.
    """
    folder = config.work_folder
    running = holder(folder)
    yield f"agent: {'does not run' if running is None else f'runs, process {running}'}"
    last = read_last_round(folder)
    yield f"last round: {last.get('ended_at', 'none yet')}"
    for target, what, detail in last.get("outcomes", ()):
        yield f"  {target}: {what} ({detail})"
    if last.get("error"):
        yield f"  {last['error']}"
    reports = Counter(path.suffix for path in (folder / "spool").glob("*"))
    yield f"reports that wait: {reports['.json']}"
    if reports[".damaged"]:
        yield f"reports that nobody takes: {reports['.damaged']}, as {folder / 'spool'}/*.damaged"
    seen = read_statuses(folder / "seen.json")
    counts = sorted(Counter(what.partition(" ")[0] for what in seen.values()).items())  # an attempt says its time
    yield f"seen: {', '.join(f'{count} {what}' for what, count in counts) or 'nothing'}"
    yield from (f"  {question}: {what}" for question, what in sorted(seen.items()))
