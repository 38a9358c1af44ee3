"""What speaks against a latency: rules over what its report says, so anybody who has the report can check them.

    rule         a doubt where                                                            why
    numerics     the release has no golden images                                         nobody checked what was timed
    precision    a CPU ran in another precision than f32, or does not say in which        bf16 halves the time
    samples      fewer than 20 samples                                                    p90 has then one above it
    warm-up      its last two medians of 10 runs are not within 1.05 of each other        `latency.is_stable`
    drift        the second half of the samples took above 1.1 of the first, or the       it has not one speed
                 other way round
    interval     p50_high is above 1.1 of p50_low                                         releases gain as little
    spread       p90 is above 1.5 of p50                                                  something came between
    throttled    a throttle counter rose, the board says so, or the clock's limit sank    heat or supply set the speed
    temperature  85 degrees Celsius or more, before or after                              boards throttle there
    clock        the governor keeps the lowest rate, or the fastest CPU is afterwards     the CPU does not give what
                 below half its limit                                                     it has
    other load   others took above 10 % of the cores' time, in half a second or more      it was not there for this
    quota        fewer CPUs are allowed than the network has threads                      they wait for each other
    group        the quota of a container or a service stopped the process                nothing ran then
    memory       below 5 % was available, or pages went to the swap space                 a disk was timed
    power        the machine runs on its battery                                          it saves power then

What a machine does not say is no doubt. A rising temperature is none: an idle CPU is 20 degrees colder than one at work
and no slower; where heat slows it, drift, the throttle counters and the clock say so. That p99 of fewer than 100
samples is the largest of them is a note (`percentile_note`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Callable

from infra.device.documents.latency_report import Condition, LatencyReport
from infra.device.documents.latency_summary import summarise
from infra.device.measuring.latency import STABLE_RATIO, WINDOW_RUNS, is_stable

LEAST_SAMPLES = 20
MOST_DRIFT = 1.1
MOST_INTERVAL = 1.1
MOST_SPREAD = 1.5
MOST_CELSIUS = 85.0
LEAST_OF_CLOCK = 0.5
MOST_OTHER_LOAD = 0.1
LEAST_LOAD_SECONDS = 0.5  # the system counts in hundredths of a second
LEAST_MEMORY = 0.05
# Under these drivers `powersave` is a governor that raises the clock as it is needed.
_DRIVERS_THAT_SCALE = ("intel_pstate", "amd-pstate-epp")
# Bits of a Raspberry Pi: low voltage, capped clock, throttled, hot; from bit 16 on, whether it was so since the start.
_BOARD_NOW = 0xF
_BOARD_SINCE_START = 0xF << 16


def doubts(report: LatencyReport) -> tuple[str, ...]:
    """A sentence for each rule that a measured report breaks: its name, what was got and what was wanted."""
    found = ((name, rule(report)) for name, rule in RULES.items())
    return tuple(f"{name}: {what}" for name, what in found if what is not None)


def _numerics(report: LatencyReport) -> str | None:
    return None if report.golden is not None else "got a release without golden images, wanted some to compare"


def _precision(report: LatencyReport) -> str | None:
    if report.target.split("-")[0] != "cpu" or report.precision == "f32":
        return None
    return f"got {report.precision or 'a runtime that does not say which'}, wanted f32"


def _samples(report: LatencyReport) -> str | None:
    count = len(report.samples_ms)
    return None if count >= LEAST_SAMPLES else f"got {count}, wanted at least {LEAST_SAMPLES}"


def _warm_up(report: LatencyReport) -> str | None:
    if is_stable(report.warm_up_ms):
        return None
    wanted = f"wanted the last two medians of {WINDOW_RUNS} runs within {STABLE_RATIO} of each other"
    return f"got {len(report.warm_up_ms)} runs that were not stable at their end, {wanted}"


def _drift(report: LatencyReport) -> str | None:
    ratio = summarise(report.samples_ms).drift_ratio
    if 1 / MOST_DRIFT <= ratio <= MOST_DRIFT:
        return None
    return f"the second half took {ratio:.2f} of the first, wanted {1 / MOST_DRIFT:.2f} to {MOST_DRIFT}"


def _interval(report: LatencyReport) -> str | None:
    low, high = report.intervals_ms["p50_low"], report.intervals_ms["p50_high"]
    if high <= MOST_INTERVAL * low:
        return None
    return f"p50 is {low:.2f} to {high:.2f} ms, a factor of {high / low:.2f}, wanted at most {MOST_INTERVAL}"


def _spread(report: LatencyReport) -> str | None:
    summary = summarise(report.samples_ms)
    if summary.p90_ms <= MOST_SPREAD * summary.p50_ms:
        return None
    return f"p90 is {summary.p90_ms / summary.p50_ms:.2f} of p50, wanted at most {MOST_SPREAD}"


def _throttled(report: LatencyReport) -> str | None:
    count = _rise(report, "cpu_throttles_count")
    if count and count > 0:
        return f"the CPU slowed itself down {count:.0f} times meanwhile, wanted 0"
    before, after = (_board_bits(conditions) for conditions in (report.conditions, report.conditions_after))
    if (before | after) & _BOARD_NOW or after & ~before & _BOARD_SINCE_START:
        return f"the board says {before:#x} before and {after:#x} after, wanted no low voltage, cap or throttling"
    limit = _rise(report, "cpu_frequency_limit_khz")
    return f"the clock's limit sank by {-limit / 1e3:.0f} MHz meanwhile, wanted 0" if limit and limit < 0 else None


def _temperature(report: LatencyReport) -> str | None:
    readings = _both(report, "temperature_celsius")
    if max(readings, default=0.0) < MOST_CELSIUS:
        return None
    return f"got {max(readings):.0f} degrees Celsius, wanted below {MOST_CELSIUS:.0f}"


def _clock(report: LatencyReport) -> str | None:
    conditions = report.conditions
    driver = conditions.get("cpu_frequency_driver_text")
    if conditions.get("cpu_governor_text") == "powersave" and driver not in _DRIVERS_THAT_SCALE:
        return f"the governor powersave of {driver or 'an unnamed driver'} keeps the lowest rate, wanted another one"
    fastest = _number(report.conditions_after, "cpu_frequency_fastest_khz")
    limit = _number(report.conditions_after, "cpu_frequency_limit_khz")
    if fastest is None or limit is None or fastest >= LEAST_OF_CLOCK * limit:
        return None
    return f"the fastest CPU runs at {fastest / 1e3:.0f} MHz of {limit / 1e3:.0f}, wanted at least {LEAST_OF_CLOCK:.0%}"


def _other_load(report: LatencyReport) -> str | None:
    elapsed, busy = _rise(report, "uptime_seconds"), _rise(report, "cpu_busy_seconds")
    own, cores = _rise(report, "process_cpu_seconds"), _number(report.conditions, "logical_cores_count")
    if elapsed is None or busy is None or own is None or not cores or elapsed < LEAST_LOAD_SECONDS:
        return None
    share = (busy - own + (_rise(report, "cpu_stolen_seconds") or 0)) / (elapsed * cores)
    if share <= MOST_OTHER_LOAD:
        return None
    return f"others took {share:.0%} of the time of {cores:.0f} cores, wanted at most {MOST_OTHER_LOAD:.0%}"


def _quota(report: LatencyReport) -> str | None:
    quota, threads = (_number(report.conditions, name) for name in ("cpu_quota_count", "inference_threads_count"))
    if quota is None or threads is None or quota >= threads:
        return None
    return f"got {quota:g} CPUs for {threads:.0f} threads, wanted as many"


def _group(report: LatencyReport) -> str | None:
    count, seconds = (_rise(report, f"group_throttled_{unit}") for unit in ("count", "seconds"))
    return f"its quota stopped the process {count:.0f} times for {seconds or 0:.2f} s, wanted 0" if count else None


def _memory(report: LatencyReport) -> str | None:
    swapped = _rise(report, "swap_out_pages")
    if swapped:
        return f"{swapped:.0f} pages went to the swap space meanwhile, wanted 0"
    total, readings = _number(report.conditions, "memory_total_bytes"), _both(report, "memory_available_bytes")
    if not total or not readings or min(readings) >= LEAST_MEMORY * total:
        return None
    return f"got {min(readings) / 2**20:.0f} MiB available of {total / 2**20:.0f}, wanted at least {LEAST_MEMORY:.0%}"


def _power(report: LatencyReport) -> str | None:
    sources = [one.get("power_supply_text") for one in (report.conditions, report.conditions_after)]
    return "got battery, wanted mains" if "battery" in sources else None


RULES: Mapping[str, Callable[[LatencyReport], str | None]] = {
    "numerics": _numerics,
    "precision": _precision,
    "samples": _samples,
    "warm-up": _warm_up,
    "drift": _drift,
    "interval": _interval,
    "spread": _spread,
    "throttled": _throttled,
    "temperature": _temperature,
    "clock": _clock,
    "other load": _other_load,
    "quota": _quota,
    "group": _group,
    "memory": _memory,
    "power": _power,
}


def _number(conditions: Mapping[str, Condition], name: str) -> float | None:
    value = conditions.get(name)
    return None if value is None or isinstance(value, str) else float(value)


def _both(report: LatencyReport, name: str) -> list[float]:
    readings = (_number(conditions, name) for conditions in (report.conditions, report.conditions_after))
    return [value for value in readings if value is not None]


def _rise(report: LatencyReport, name: str) -> float | None:
    """By how much it rose meanwhile; None unless it was read before and after."""
    readings = _both(report, name)
    return readings[1] - readings[0] if len(readings) == 2 else None


def _board_bits(conditions: Mapping[str, Condition]) -> int:
    text = str(conditions.get("board_throttled_text", ""))
    return int(text, 16) if re.fullmatch(r"(0x)?[0-9a-fA-F]{1,8}", text) else 0
