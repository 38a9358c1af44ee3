"""Which candidate is tried next, from what all earlier ones came to: by the multi-objective TPE of Optuna.

Ozaki et al., "Multiobjective tree-structured Parzen estimator", JAIR 73 (2022). Nothing is kept between two proposals:
each is made from what is known, so that a search that was killed goes on as if it had not been.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from modnet.configs import PruningConfig, RetrainConfig
from modnet.configs.search import SearchSpace
from modnet.policies import BudgetPolicy
from modnet.search.hypervolume import Point

_GMACS_STEPS = 40  # a finer step makes another network of nearly the same time
_RANDOM_FIRST = 8  # before there is a model of what is good
_DRAWS = 20  # for a proposal that nobody has tried
_FLOOR = 0.05  # share of its channels that a group keeps at least, as the candidates of docs/results.md

Parameters = Mapping[str, Any]
"""One point of a space: `gmacs`, `input_shape` ("" where the data say), `criterion`, `multiple`, `batch_only` and
`learning_rate`."""


class Known(NamedTuple):
    """A candidate that was tried, and what it came to; None while it trains to its first rung."""

    parameters: Parameters
    point: Point | None


def propose(space: SearchSpace, known: Sequence[Known], seed: int, number: int) -> Parameters:
    """The parameters of a new candidate.

    Those of a candidate that lies outside of the space teach nothing, and are left out.

    Args:
        space: where it lies.
        known: all that was tried, in the order in which it was asked for.
        seed: of the search.
        number: of this proposal; the same number and the same knowledge give the same proposal.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = _distributions(space)
    sampler = optuna.samplers.TPESampler(
        seed=(seed * 1_000_003 + number) % 2**32, n_startup_trials=_RANDOM_FIRST, multivariate=True, constant_liar=True
    )
    study = optuna.create_study(directions=("minimize", "minimize"), sampler=sampler)
    study.add_trials([_told(one, distributions) for one in known if _lies_in(one.parameters, distributions)])
    tried = [_rounded(one.parameters, distributions) for one in known]
    for _ in range(_DRAWS):
        trial = study.ask(distributions)
        if _rounded(trial.params, distributions) not in tried:
            break
    return trial.params


def pruning_of(parameters: Parameters, batch_only: Sequence[str]) -> PruningConfig:
    """How a candidate is pruned.

    Args:
        parameters: of the candidate.
        batch_only: patterns of the layers that may lose their instance norms, as the workload names them.
    """
    return PruningConfig(
        policy=BudgetPolicy(max_macs=round(parameters["gmacs"] * 1e9), floor=_FLOOR),
        criterion=parameters["criterion"],
        channel_multiple=parameters["multiple"],
        min_channels=parameters["multiple"],
        batch_only=tuple(batch_only) if parameters["batch_only"] else (),
        input_shape=parameters["input_shape"] or None,
    )


def parameters_of(pruning: PruningConfig, retrain: RetrainConfig) -> Parameters | None:
    """The point of a space that a candidate is; None where no space has it, as of a policy without a budget of MACs."""
    policy = pruning.policy
    if not isinstance(policy, BudgetPolicy) or policy.max_macs is None or policy.max_parameters is not None:
        return None
    return {
        "gmacs": policy.max_macs / 1e9,
        "input_shape": pruning.input_shape or "",
        "criterion": pruning.criterion,
        "multiple": pruning.channel_multiple,
        "batch_only": bool(pruning.batch_only),
        "learning_rate": retrain.learning_rate,
    }


def _distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    macs, rate = space.gmacs, space.learning_rate
    return {
        "gmacs": FloatDistribution(macs.least, macs.most),
        "input_shape": CategoricalDistribution(space.input_shapes or ("",)),
        "criterion": CategoricalDistribution(space.criteria),
        "multiple": CategoricalDistribution(space.multiples),
        "batch_only": CategoricalDistribution(space.batch_only),
        "learning_rate": FloatDistribution(rate.least, rate.most, log=True),
    }


def _lies_in(parameters: Parameters, distributions: Mapping[str, BaseDistribution]) -> bool:
    for name, distribution in distributions.items():
        if isinstance(distribution, CategoricalDistribution):
            if parameters[name] not in distribution.choices:
                return False
        elif (
            isinstance(distribution, FloatDistribution)
            and not distribution.low <= parameters[name] <= distribution.high
        ):
            return False
    return True


def _told(one: Known, distributions: dict[str, BaseDistribution]) -> optuna.trial.FrozenTrial:
    return create_trial(
        state=TrialState.RUNNING if one.point is None else TrialState.COMPLETE,
        values=one.point,
        params=dict(one.parameters),
        distributions=distributions,
    )


def _rounded(parameters: Parameters, distributions: Mapping[str, BaseDistribution]) -> tuple[Any, ...]:
    """Parameters without what makes no other network of interest."""
    gmacs = distributions["gmacs"]
    assert isinstance(gmacs, FloatDistribution)
    step = (gmacs.high - gmacs.low) / _GMACS_STEPS or 1.0
    rest = [parameters[name] for name in ("input_shape", "criterion", "multiple", "batch_only")]
    return round(parameters["gmacs"] / step), *rest
