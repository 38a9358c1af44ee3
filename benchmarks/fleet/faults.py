"""What goes wrong, a story each: it prepares the fault, waits until the agent has met it, and mends it.

A story runs up to its first `yield` before the release is promoted, and is asked to go on until it ends. What the
agent must have done in the meantime stands in it as an assertion.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping

from benchmarks.fleet.agents import TARGET, AgentProcess
from benchmarks.fleet.networks import CRASHING, HANGING
from benchmarks.fleet.proxy import Answer, Harm
from benchmarks.fleet.world import World
from benchmarks.ingest import put
from infra.device.documents.checks import utc_now

Story = Callable[[AgentProcess, World, str], Iterator[None]]
"""(agent, world, release_id of the round) → the story."""

_LONG_S = 10 * 24 * 3600.0
_REPORT_BYTES = 100_000_000


def _clean(agent: AgentProcess, world: World, release_id: str) -> Iterator[None]:
    yield


def _killed(agent: AgentProcess, world: World, release_id: str) -> Iterator[None]:
    yield
    at = time.monotonic() + random.uniform(0.0, 3.0)
    while time.monotonic() < at:
        yield
    agent.restart()


def _cut(agent: AgentProcess, world: World, release_id: str) -> Iterator[None]:
    agent.store.harm = agent.ingest.harm = lambda asked, answer: answer._replace(is_cut=bool(answer.body))
    yield
    while agent.store.harmed + agent.ingest.harmed < 3:
        yield
    _mend(agent, world, release_id)


def _corrupt(agent: AgentProcess, world: World, release_id: str) -> Iterator[None]:
    def harm(asked: str, answer: Answer) -> Answer:
        is_weights = asked.startswith("GET") and f"/{release_id}/" in asked and asked.split("?")[0].endswith(".bin")
        return answer._replace(body=bytes([answer.body[0] ^ 1]) + answer.body[1:]) if is_weights else answer

    yield from _harmed(agent, world, release_id, harm, times=1)


def _forged(agent: AgentProcess, world: World, release_id: str) -> Iterator[None]:
    yield from _harmed(agent, world, release_id, _instead_of_timestamp(world.forged_timestamp()))


def _expired(agent: AgentProcess, world: World, release_id: str) -> Iterator[None]:
    yield from _harmed(agent, world, release_id, _instead_of_timestamp(world.expired_timestamp()))


def _replayed(agent: AgentProcess, world: World, release_id: str) -> Iterator[None]:
    yield from _harmed(agent, world, release_id, _instead_of_timestamp(world.first_timestamp))


def _instead_of_timestamp(data: bytes) -> Harm:
    return lambda asked, answer: answer._replace(body=data) if asked.endswith("/tuf/timestamp.json") else answer


def _harmed(agent: AgentProcess, world: World, release_id: str, harm: Harm, times: int = 2) -> Iterator[None]:
    agent.store.harm = harm
    yield
    while agent.store.harmed < times:
        yield
    _mend(agent, world, release_id)


def _mend(agent: AgentProcess, world: World, release_id: str) -> None:
    """Nothing may have been measured while what the agent got was harmed."""
    if world.measured(agent.name, release_id):
        world.wrong.append(f"{agent.name}: measured {release_id} from what was harmed")
    agent.store.harm = agent.ingest.harm = None
    agent.store.harmed = agent.ingest.harmed = 0


def _clock_off(agent: AgentProcess, world: World, release_id: str) -> Iterator[None]:
    said = agent.log().count("clock")
    agent.restart(clock_off_s=random.choice((-_LONG_S, _LONG_S)))
    yield
    while agent.log().count("clock") <= said:
        yield
    agent.restart()


def _hanging(agent: AgentProcess, world: World, release_id: str) -> Iterator[None]:
    yield from _bad_network(agent, world, HANGING)


def _crashing(agent: AgentProcess, world: World, release_id: str) -> Iterator[None]:
    yield from _bad_network(agent, world, CRASHING)


def _bad_network(agent: AgentProcess, world: World, name: str) -> Iterator[None]:
    bad = world.bad_release(name, agent.name)  # of its own: what was tried twice is left alone for good
    world.pin(agent.name, bad)
    yield
    while not world.failed(agent.name, bad):
        yield
    world.unpin(agent.name)


def _malformed(agent: AgentProcess, world: World, release_id: str) -> Iterator[None]:
    _expect(world, agent, put(world.ingest_port, agent.device, _key(agent, release_id), b'{"schema_version": 2'), "422")
    yield


def _too_large(agent: AgentProcess, world: World, release_id: str) -> Iterator[None]:
    answer = put(world.ingest_port, agent.device, _key(agent, release_id), bytes(_REPORT_BYTES))
    _expect(world, agent, answer, "413", "closed")
    yield


def _key(agent: AgentProcess, release_id: str) -> str:
    return f"reports/{agent.name}/{release_id}/{TARGET}-{utc_now()}.json"


def _expect(world: World, agent: AgentProcess, got: str, *wanted: str) -> None:
    if not got.startswith(wanted):
        world.wrong.append(f"{agent.name}: the ingest answered {got}, wanted {' or '.join(wanted)}")


def _duplicate(agent: AgentProcess, world: World, release_id: str) -> Iterator[None]:
    yield
    while not world.measured(agent.name, release_id):
        yield
    agent.forget()
    while world.measured(agent.name, release_id) < 2:
        yield


FAULTS: Mapping[str, Story] = {
    "kill -9": _killed,
    "cut connections": _cut,
    "corrupt object": _corrupt,
    "forged metadata": _forged,
    "expired metadata": _expired,
    "replayed metadata": _replayed,
    "clock 10 days off": _clock_off,
    "hanging network": _hanging,
    "crashing network": _crashing,
    "malformed report": _malformed,
    "report of 100 MB": _too_large,
    "sent twice": _duplicate,
}
CLEAN = ("none", _clean)
