"""Latencies here are functions of the networks' MACs, so that they are the same on every machine."""

import re
from collections.abc import Callable, Sequence

import pytest

from modnet.backbones.spec import inverted_residuals
from modnet.configs import LatencyPolicy, PruningConfig
from modnet.errors import PruningError, UnsteadyLatencyError
from modnet.network import PrunableNetwork
from modnet.pruning.complexity import complexity
from modnet.pruning.plan import PruningPlan, plan_pruning
from modnet.pruning.surgery import apply_plan
from modnet.workloads.classification.network import MobileNetV2, MobileNetV2Spec, numbered
from tests.unit.modnet.pruning.networks import NETWORKS

FULL_MS = 100


@pytest.fixture(scope="module")
def network() -> MobileNetV2:
    """Wide enough for steps of a single channel to be small."""
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 2, 2), (6, 48, 1, 2), (6, 64, 1, 2))
    blocks = inverted_residuals(16, stages)
    return MobileNetV2(MobileNetV2Spec(stem_channels=16, blocks=blocks, last_channels=128, classes=numbered(10)))


class Machine:
    """Measures by counting; `ms_of` says how long a share of the full network's MACs takes."""

    def __init__(self, network: PrunableNetwork, ms_of: Callable[[float], float]) -> None:
        self._full = complexity(network).macs
        self._ms_of = ms_of
        self.rounds = 0
        self.slowdown = [1.0] * 99

    def ms(self, network: PrunableNetwork) -> float:
        return self._ms_of(complexity(network).macs / self._full)

    def measure(self, networks: Sequence[PrunableNetwork]) -> list[float]:
        self.rounds += 1
        return [self.ms(network) * self.slowdown[self.rounds - 1] for network in networks]


def plan_for(network: PrunableNetwork, machine: Machine, max_ms: float, floor: float = 0.1) -> PruningPlan:
    policy = LatencyPolicy(max_ms=max_ms, floor=floor)
    config = PruningConfig(policy=policy, channel_multiple=1, min_channels=1)
    return plan_pruning(network, config, measure_latency=machine.measure)


@pytest.mark.parametrize("max_ms", [20, 35, 60, 90])
@pytest.mark.parametrize(
    "ms_of",
    [lambda share: FULL_MS * share, lambda share: 10 + 90 * share**0.7, lambda share: 5 + 95 * share**2],
    ids=["proportional", "concave with overhead", "convex with overhead"],
)
def test_plan_pruning_comes_within_five_percent_of_latency(
    network: MobileNetV2, ms_of: Callable[[float], float], max_ms: float
) -> None:
    machine = Machine(network, ms_of)
    ms = machine.ms(apply_plan(network, plan_for(network, machine, max_ms)))
    assert 0.95 * max_ms <= ms <= max_ms


def test_plan_pruning_removes_nothing_when_network_is_fast_enough(network: MobileNetV2) -> None:
    machine = Machine(network, lambda share: FULL_MS * share)
    plan = plan_for(network, machine, 100)
    assert all(group.widths == group.parts for group in plan.groups.values())
    assert machine.rounds == 2  # the second is the closing measurement
    assert plan.remarks == ("nothing was removed: the network is within 100 ms as it is",)


def test_plan_pruning_removes_no_more_than_batch_only_says_when_network_is_fast_enough() -> None:
    modnet = NETWORKS["modnet"]()
    machine = Machine(modnet, lambda share: FULL_MS * share)
    config = PruningConfig(policy=LatencyPolicy(max_ms=100), batch_only=("fusion.*",))
    plan = plan_pruning(modnet, config, measure_latency=machine.measure)
    for name, group in plan.groups.items():
        batch_only = name.startswith("fusion.")
        assert group.widths == ((group.parts[0], 0) if batch_only else group.parts)


def test_plan_pruning_takes_a_slower_machine_into_account_when_it_slows_down(network: MobileNetV2) -> None:
    """What was fast enough in the first round no longer is from the second on."""
    machine = Machine(network, lambda share: FULL_MS * share)
    machine.slowdown = [1] + [2] * 99
    ms = 2 * machine.ms(apply_plan(network, plan_for(network, machine, 50)))
    assert machine.rounds > 1
    assert 0.9 * 50 <= ms <= 50


def test_plan_pruning_tells_what_the_closing_measurement_found(network: MobileNetV2) -> None:
    machine = Machine(network, lambda share: FULL_MS * share)
    plan = plan_for(network, machine, 60)
    assert plan.latency is not None
    assert plan.latency.ms == pytest.approx(machine.ms(apply_plan(network, plan)))
    assert plan.latency.unpruned_ms == pytest.approx((FULL_MS,) * machine.rounds)
    assert plan.remarks == ()
    assert PruningPlan.from_json(plan.to_json()) == plan


def test_plan_pruning_searches_again_when_luck_had_made_the_plan(network: MobileNetV2) -> None:
    """Every network but the unpruned one looks twice as fast as it is, until the first closing measurement."""

    class Lucky(Machine):
        def measure(self, networks: Sequence[PrunableNetwork]) -> list[float]:
            unpruned, *others = super().measure(networks)
            self.seen_closing = getattr(self, "seen_closing", False) or len(others) == 1
            return [unpruned, *others] if self.seen_closing else [unpruned, *(ms / 2 for ms in others)]

    machine = Lucky(network, lambda share: FULL_MS * share)
    plan = plan_for(network, machine, 50)
    ms = machine.ms(apply_plan(network, plan))
    assert 0.85 * 50 <= ms <= 50
    assert plan.latency is not None
    assert plan.latency.ms == pytest.approx(ms)


def test_plan_pruning_searches_again_when_a_busy_machine_had_made_the_network_too_small(network: MobileNetV2) -> None:
    machine = Machine(network, lambda share: FULL_MS * share)
    machine.slowdown = [2] * 2 + [1] * 99
    plan = plan_for(network, machine, 60)
    assert 0.85 * 60 <= machine.ms(apply_plan(network, plan)) <= 60
    assert plan.remarks == (
        "the machine had other work: the unpruned network took 100.0 to 200.0 ms while networks were measured; "
        "an idle machine may allow a larger one",
    )


def test_plan_pruning_fails_with_the_figures_when_no_plan_holds_its_latency(network: MobileNetV2) -> None:
    """A machine that is busy whenever a closing measurement is taken."""

    class Busy(Machine):
        def measure(self, networks: Sequence[PrunableNetwork]) -> list[float]:
            return [ms * (1.6 if len(networks) == 2 else 1) for ms in super().measure(networks)]

    with pytest.raises(UnsteadyLatencyError) as caught:
        plan_for(network, Busy(network, lambda share: FULL_MS * share), 60)
    told = str(caught.value)
    assert re.search(r"wanted at most 60\.0 ms: got 9\d\.\d, 9\d\.\d, 8\d\.\d ms", told)
    assert "The unpruned network took 100.0 to 160.0 ms meanwhile" in told


def test_plan_pruning_raises_when_the_smallest_network_is_too_slow(network: MobileNetV2) -> None:
    machine = Machine(network, lambda share: 10 + 90 * share)
    with pytest.raises(
        PruningError,
        match=r"the smallest that the floor allows takes 1\d\.\d ms here, wanted at most 9.*the unpruned one took 100",
    ):
        plan_for(network, machine, 9)


def test_plan_pruning_raises_when_there_is_nothing_to_measure_with(network: MobileNetV2) -> None:
    with pytest.raises(PruningError, match="nothing to measure with was given"):
        plan_pruning(network, PruningConfig(policy=LatencyPolicy(max_ms=50)))
