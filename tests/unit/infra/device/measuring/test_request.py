from __future__ import annotations

from typing import Any

import pytest

from infra.device.documents.latency_report import MAX_SENT_BYTES, LatencyReport
from infra.device.documents.latency_summary import intervals, summarise
from infra.device.errors import ContractError, SettingsError
from infra.device.measuring.request import MOST_RUNS, MeasureSettings, Network, Request


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"warm_up": -1}, "warm_up: got -1, wanted 0 to 20000"),
        ({"warm_up": MOST_RUNS + 1}, "warm_up: got 20001"),
        ({"repeats": 0}, "repeats: got 0, wanted 1 to 20000"),
        ({"repeats": MOST_RUNS + 1}, "repeats: got 20001"),
        ({"threads": 0}, "threads: got 0, wanted at least 1"),
    ],
)
def test_settings_refuse_what_no_report_could_hold(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        MeasureSettings(**settings)


def test_the_largest_settings_make_a_report_that_can_be_sent() -> None:
    samples_ms = tuple(1000 / 3 + index / 7 for index in range(MOST_RUNS))
    settings = MeasureSettings(warm_up=MOST_RUNS, repeats=MOST_RUNS)
    report = LatencyReport(
        *("0123456789ab", "cpu-fp32", "pi", "openvino 1", "measured", "20261122T063000.000000Z", {}),
        input_shape=(1,),
        load_ms=1.0,
        warm_up_ms=samples_ms[: settings.warm_up],
        samples_ms=samples_ms[: settings.repeats],
        summary=summarise(samples_ms),
        intervals_ms=intervals(samples_ms),
    )
    assert len(report.to_json()) < MAX_SENT_BYTES


def test_a_request_is_read_as_it_was_written() -> None:
    network = Network(
        "cpu-fp32", "/a b/n.xml", (1, 3, 8, 8), 1, 2, None, "/a/golden.npz", 0.01, "0123456789ab", "/b.xml"
    )
    for request in (Request(("CPU",)), Request(network=network)):
        assert Request.from_line(request.to_line()) == request
    with pytest.raises(ContractError, match="request"):
        Request.from_line(b"{}\n")
