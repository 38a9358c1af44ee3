"""Latencies of networks that exist as torch modules alone."""

import pytest

from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from tasks.pruning_evidence import measure_latency


@pytest.mark.slow
def test_measure_latency_gives_each_network_its_own_when_they_differ_much() -> None:
    tiny, full = measure_latency(threads=1)([MODNet(ModnetSpec.tiny()), MODNet(ModnetSpec.full())])
    assert 0 < tiny < full / 2
