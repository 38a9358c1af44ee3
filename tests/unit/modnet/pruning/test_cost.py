"""What a network would cost equals what it costs when it is built."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modnet.pruning.complexity import complexity
from modnet.pruning.cost import cost_model
from modnet.pruning.surgery import apply_plan
from modnet.workloads.classification.network import MobileNetV2, MobileNetV2Spec
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from tests.unit.modnet.pruning.networks import NETWORKS, random_network, random_plan


@pytest.mark.parametrize("kind", NETWORKS)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**20))
def test_cost_equals_complexity_of_the_network_that_is_built(kind: str, seed: int) -> None:
    network = random_network(kind, seed)
    plan = random_plan(network, seed)
    built = complexity(apply_plan(network, plan), size=64)
    cost = cost_model(network, size=64).cost({name: group.widths for name, group in plan.groups.items()})
    assert cost == (built.parameters, built.macs)


@pytest.mark.parametrize(
    ("make", "parameters", "giga_macs"),
    [
        (lambda: MODNet(ModnetSpec.full()), 6_476_609, 15.47),
        (lambda: MobileNetV2(MobileNetV2Spec.full()), 3_504_872, 1.566),
    ],
    ids=["modnet", "mobilenet"],
)
def test_cost_equals_published_counts_when_nothing_goes(make, parameters: int, giga_macs: float) -> None:
    cost = cost_model(make()).cost({})
    assert cost.parameters == parameters
    assert cost.macs / 1e9 == pytest.approx(giga_macs, abs=0.005)


def test_neighbours_are_the_groups_that_meet_in_a_tensor() -> None:
    model = cost_model(NETWORKS["encoder-decoder"](), size=64)
    assert model.neighbours("inner") == {"inner", "trunk"}
    assert model.neighbours("deep") == {"deep", "trunk", "image", "fine"}
