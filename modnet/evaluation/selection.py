"""Which network to release: the Pareto front, and the best within a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modnet.configs import BudgetConfig, ExportConfig
from modnet.errors import ConfigError
from modnet.export.variants import Target
from modnet.records import Choice, LegacyCheck, NetworkScores


def pareto_front(scores: Sequence[NetworkScores]) -> tuple[NetworkScores, ...]:
    """Networks that no other beats in both tune MSE and MACs, from fewest MACs up."""
    return tuple(
        sorted(
            (one for one in scores if not any(_dominates(other, one) for other in scores)),
            key=lambda one: (one.complexity.macs, one.tune.mse, one.network_id),
        )
    )


def choose_best(
    base: NetworkScores,
    candidates: Sequence[NetworkScores],
    budget: BudgetConfig,
    refused: Mapping[str, str] | None = None,
) -> Choice:
    """The candidate of lowest tune MSE within `budget`, with a reason for every other. `val` is never looked at.

    Args:
        base: the unpruned network.
        candidates: what is chosen from.
        budget: what the winner may cost.
        refused: candidates that cannot be exported, with the reason.

    Raises:
        ConfigError: no candidate is within the budget and exportable; says why each is not.
    """
    over = {one.network_id: f"over budget: {what}" for one in candidates if (what := _over_budget(one, base, budget))}
    over |= {name: f"refused: {reason}" for name, reason in (refused or {}).items()}
    affordable = [one for one in candidates if one.network_id not in over]
    if not affordable:
        listing = "; ".join(f"{name}: {problem}" for name, problem in over.items()) or "there is no candidate"
        raise ConfigError(f"no candidate is within the budget: {listing}")
    winner = min(affordable, key=lambda one: (one.tune.mse, one.complexity.macs, one.network_id))
    reasons = {}
    for one in candidates:
        better = next((other for other in candidates if _dominates(other, one)), None)
        if one is winner:
            reasons[one.network_id] = f"lowest tune MSE within the budget: {one.tune.mse:.6f}"
        elif one.network_id in over:
            reasons[one.network_id] = over[one.network_id]
        elif better is not None:
            reasons[one.network_id] = f"{better.network_id} is at least as small and as accurate"
        else:
            reasons[one.network_id] = f"smaller, but tune MSE {one.tune.mse:.6f} against {winner.tune.mse:.6f}"
    return Choice(
        winner=winner.network_id, front=tuple(one.network_id for one in pareto_front(candidates)), reasons=reasons
    )


def refused_targets(tune_mse: Mapping[str, float], config: ExportConfig) -> dict[str, str]:
    """Targets that lost too much accuracy against torch, with the numbers.

    Args:
        tune_mse: MSE on `tune` by target, all under the same protocol; "torch" is what the others are held against.
    """
    allowed = tune_mse["torch"] * (1 + config.max_relative_mse_increase)
    return {
        target: f"tune MSE {mse:.6f}, allowed {allowed:.6f} (torch {tune_mse['torch']:.6f})"
        for target, mse in tune_mse.items()
        if mse > allowed
    }


def refused_by_runtimes(checks: Mapping[Target, Sequence[LegacyCheck]]) -> dict[Target, str]:
    """Targets that an old runtime of theirs failed, with its words; one that was not asked fails nothing."""
    return {
        target: "; ".join(f"{one.by}: {one.words}" for one in asked if one.status == "failed")
        for target, asked in checks.items()
        if any(one.status == "failed" for one in asked)
    }


def _dominates(one: NetworkScores, other: NetworkScores) -> bool:
    no_worse = one.tune.mse <= other.tune.mse and one.complexity.macs <= other.complexity.macs
    better = one.tune.mse < other.tune.mse or one.complexity.macs < other.complexity.macs
    return no_worse and better


def _over_budget(one: NetworkScores, base: NetworkScores, budget: BudgetConfig) -> str:
    """What exceeds the budget, or an empty string."""
    mse_limit = None if budget.max_mse_ratio is None else budget.max_mse_ratio * base.tune.mse
    checks = (
        ("parameters", one.complexity.parameters, budget.max_parameters),
        ("MACs", one.complexity.macs, budget.max_macs),
        ("tune MSE", one.tune.mse, mse_limit),
    )
    return ", ".join(
        f"{name} {value:.6g} (allowed {limit:.6g})"
        for name, value, limit in checks
        if limit is not None and value > limit
    )
