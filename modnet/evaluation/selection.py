"""Which network to release: the Pareto front, and the best within limits."""

import math
from collections.abc import Mapping, Sequence

from modnet.configs import ExportConfig, WinnerLimits
from modnet.errors import ConfigError
from modnet.records import Choice, HostLatencies, LegacyCheck, NetworkScores
from modnet.targets import Target


def pareto_front(scores: Sequence[NetworkScores], p50_ms: Mapping[str, float]) -> tuple[NetworkScores, ...]:
    """Networks that no other beats in both tune error and latency, from the fastest on.

    `p50_ms` is by network_id; a network that is missing counts as slower than any.
    """
    return tuple(
        sorted(
            (one for one in scores if not any(_dominates(other, one, p50_ms) for other in scores)),
            key=lambda one: (_latency(one, p50_ms), one.tune.error, one.network_id),
        )
    )


def choose_best(
    base: NetworkScores,
    candidates: Sequence[NetworkScores],
    limits: WinnerLimits,
    latencies: HostLatencies,
    refused: Mapping[str, str] | None = None,
) -> Choice:
    """The fastest candidate that errs little enough, with a reason for every other. `val` is never looked at.

    Where none is within `limits.max_error_ratio`, the one with the lowest tune error. Latencies are of the form that
    decides; a candidate that was not timed counts as slower than any. Those `refused` cannot be exported, for a reason.

    Raises:
        ConfigError: no candidate is within the limits of size and exportable; says why each is not.
    """
    over = {one.network_id: f"too large: {what}" for one in candidates if (what := _too_large(one, limits))}
    over |= {name: f"refused: {reason}" for name, reason in (refused or {}).items()}
    possible = [one for one in candidates if one.network_id not in over]
    if not possible:
        listing = "; ".join(f"{name}: {problem}" for name, problem in over.items()) or "there is no candidate"
        raise ConfigError(f"no candidate can be released: {listing}")
    p50_ms = latencies.deciding_ms
    bound = limits.max_error_ratio * base.tune.error
    accurate = [one for one in possible if one.tune.error <= bound]
    if accurate:
        winner = min(accurate, key=lambda one: (_latency(one, p50_ms), one.tune.error, one.network_id))
    else:
        winner = min(possible, key=lambda one: (one.tune.error, _latency(one, p50_ms), one.network_id))

    def figures(one: NetworkScores) -> str:
        p50 = p50_ms.get(one.network_id)
        latency = "not timed" if p50 is None else f"{latencies.deciding_form} p50 {p50:.1f} ms"
        ratio = times(one.tune.error, base.tune.error)
        return f"{latency}, tune error {one.tune.error:.6f}, {ratio} the unpruned network's"

    allowed = f"{limits.max_error_ratio:g} times the unpruned network's error"
    reasons = {}
    for one in candidates:
        if one is winner and accurate:
            reasons[one.network_id] = f"the fastest within {allowed}: {figures(one)}"
        elif one is winner:
            reasons[one.network_id] = f"no candidate is within {allowed}; this one errs least: {figures(one)}"
        elif one.network_id in over:
            reasons[one.network_id] = over[one.network_id]
        elif accurate and one.tune.error > bound:
            reasons[one.network_id] = f"errs more than {allowed}: {figures(one)}"
        else:
            reasons[one.network_id] = f"{'slower' if accurate else 'errs more'}: {figures(one)}"
    front = tuple(one.network_id for one in pareto_front(candidates, p50_ms))
    return Choice(winner=winner.network_id, front=front, reasons=reasons)


def times(error: float, reference: float) -> str:
    """An error as a multiple of another, for people: `1.07 times`."""
    return f"{error / reference:.2f} times" if reference else "not comparable to"


def refused_targets(tune_error: Mapping[str, float], config: ExportConfig) -> dict[str, str]:
    """Targets that lost too much accuracy against torch, with the numbers.

    `tune_error` is by target and of "torch", which the others are held against, all under the same protocol.
    """
    allowed = tune_error["torch"] * (1 + config.max_relative_error_increase)
    bound = f"allowed {allowed:.6f} (torch {tune_error['torch']:.6f})"
    return {name: f"tune error {error:.6f}, {bound}" for name, error in tune_error.items() if error > allowed}


def refused_by_runtimes(checks: Mapping[Target, Sequence[LegacyCheck]]) -> dict[Target, str]:
    """Targets that an old runtime of theirs failed, with its words; one that was not asked fails nothing."""
    return {
        target: "; ".join(f"{one.by}: {one.words}" for one in asked if one.status == "failed")
        for target, asked in checks.items()
        if any(one.status == "failed" for one in asked)
    }


def _latency(one: NetworkScores, p50_ms: Mapping[str, float]) -> float:
    return p50_ms.get(one.network_id, math.inf)


def _dominates(one: NetworkScores, other: NetworkScores, p50_ms: Mapping[str, float]) -> bool:
    this, that = ((scores.tune.error, _latency(scores, p50_ms)) for scores in (one, other))
    return this != that and this[0] <= that[0] and this[1] <= that[1]


def _too_large(one: NetworkScores, limits: WinnerLimits) -> str:
    cost = one.complexity
    checks = ("parameters", cost.parameters, limits.max_parameters), ("MACs", cost.macs, limits.max_macs)
    over = [check for check in checks if check[2] is not None and check[1] > check[2]]
    return ", ".join(f"{name} {value:.6g} (allowed {limit:.6g})" for name, value, limit in over)
