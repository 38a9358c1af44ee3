"""A fleet of agents through faults: every valid report counted once, none lost, nothing forged measured, none gone.

    python -m benchmarks.fleet [--agents 100] [--releases 10] [--at-once 10]

Starts a SeaweedFS and an ingest of its own in a temporary folder. Agents run as processes, some at a time; each lives
through all releases, behind proxies of its own that can do harm. For each fault, 5 in 100 of all (agent, release) meet
it. Networks are tiny, deadlines short. Exit code 1 when a measure is not met.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.fleet.agents import AgentProcess
from benchmarks.fleet.faults import CLEAN, FAULTS, Story
from benchmarks.fleet.world import World
from benchmarks.services import memory_mb, services
from infra.device.documents.latency_report import MEASURED
from infra.device.reports import counted_once, read_reports

SHARE = 0.05
ROUND_WITHIN_S = 300.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="A fleet of agents through faults.")
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--releases", type=int, default=10, help="that each agent measures")
    parser.add_argument("--at-once", type=int, default=10, help="agents that run at a time")
    options = parser.parse_args(arguments)
    random.seed(0)
    with tempfile.TemporaryDirectory() as folder:
        return _run(Path(folder), options.agents, options.releases, options.at_once)


def _run(folder: Path, agent_count: int, release_count: int, at_once: int) -> int:
    names = [f"device-{number:03d}" for number in range(agent_count)]
    stories = _drawn(agent_count * release_count)
    asked: dict[tuple[str, str], str] = {}
    began, ends = time.monotonic(), []
    with services(folder, names) as running:
        world = World(running, folder)
        for first in range(0, agent_count, at_once):
            agents = [
                AgentProcess(running.devices[name], folder / name, world.keys.folder / "root.json", running)
                for name in names[first : first + at_once]
            ]
            with ExitStack() as stack:
                for agent in agents:
                    stack.enter_context(agent.running())
                for number in range(release_count):
                    release_id = world.release(f"round-{first}-{number}")
                    faults = {agent.name: next(stories) for agent in agents}
                    asked |= {(name, release_id): fault for name, (fault, _) in faults.items()}
                    _one_round(world, agents, release_id, {name: story for name, (_, story) in faults.items()})
            ends += [f"{agent.name} ended with {code}" for agent in agents for code in agent.ends]
            print(f"{min(first + at_once, agent_count)} agents, {time.monotonic() - began:.0f} s", file=sys.stderr)
        return _print(world, asked, ends, time.monotonic() - began, memory_mb(running.ingest_pid, "VmHWM"))


def _drawn(count: int) -> Iterator[tuple[str, Story]]:
    """The fault of each (agent, release): each of FAULTS for its share, none for the rest."""
    each = round(SHARE * count)
    drawn = [fault for fault in FAULTS.items() for _ in range(each)]
    drawn += [CLEAN] * (count - len(drawn))
    random.shuffle(drawn)
    return iter(drawn)


def _one_round(world: World, agents: list[AgentProcess], release_id: str, stories: dict[str, Story]) -> None:
    """Promotes the release, and waits until every story has ended and every agent has measured."""
    under_way = {agent.name: stories[agent.name](agent, world, release_id) for agent in agents}
    for story in under_way.values():
        next(story)
    world.promote(release_id)
    ended: set[str] = set()
    deadline = time.monotonic() + ROUND_WITHIN_S
    while len(ended) < len(agents) and time.monotonic() < deadline:
        world.look()
        for name, story in under_way.items():
            if name not in ended and next(story, story) is story and world.measured(name, release_id):
                ended.add(name)
        time.sleep(0.2)
    for name in set(under_way) - ended:
        world.wrong.append(f"{name}: {release_id} did not end within {ROUND_WITHIN_S:g} s")


def _print(world: World, asked: dict[tuple[str, str], str], ends: list[str], took_s: float, ingest_mb: float) -> int:
    """The table by fault, what went wrong, and the exit code."""
    table = {fault: Counter[str]() for fault in (*FAULTS, CLEAN[0])}
    for release_id in {release_id for _, release_id in asked}:
        found, refused = read_reports(world.store, release_id)
        world.wrong += [f"{one.key}: {one.reason}" for one in refused]
        counted = Counter((one.device, one.release_id) for one in counted_once(found) if one.status == MEASURED)
        for question, fault in asked.items():
            if question[1] == release_id:
                sent = sum((one.device, one.release_id) == question for one in found)
                table[fault].update(
                    asked=1, sent=sent, once=int(counted[question] == 1), lost=int(not counted[question])
                )
    print("| fault | devices and releases | reports sent | counted once | lost |\n|---|---:|---:|---:|---:|")
    for fault, row in table.items():
        print(f"| {fault} | {row['asked']} | {row['sent']} | {row['once']} | {row['lost']} |")
    print(f"\nin {took_s:.0f} s; the ingest took {ingest_mb:.0f} MB at most; agents gone: {len(ends)}")
    for sentence in [*world.wrong, *ends]:
        print(sentence)
    is_right = all(row["once"] == row["asked"] for row in table.values()) and not world.wrong and not ends
    print(f"every valid report counted once, none lost, nothing forged measured: {'yes' if is_right else 'NO'}")
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
