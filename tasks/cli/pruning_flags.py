"""What a person types about pruning: a policy with flags of its own, a criterion, limits, steps."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping
from pathlib import Path

from modnet.configs import (
    POLICIES,
    AdaptivePolicy,
    BudgetPolicy,
    GlobalThresholdPolicy,
    IterationConfig,
    LatencyPolicy,
    Policy,
    PruningConfig,
    UniformPolicy,
)
from modnet.policies.policy import SteppedPolicy
from tasks.cli.amounts import amount
from tasks.cli.flags import (
    DATASET,
    TRAINING_FLAGS,
    Flags,
    Options,
    UsageError,
    add_choices,
    add_fields,
    field_help,
    positive,
    seed_number,
    texts,
)

_PLANNED = (
    "criterion",
    "aggregate",
    "channel_multiple",
    "min_channels",
    "exclude",
    "batch_only",
    "taylor_images",
    "compensate",
)
_FIELDS = {"ratios": ("pruned_params", "pruned_ratios")}  # fields whose flags have other names


def _flags_of(policy: type[Policy]) -> tuple[str, ...]:
    """Its own fields, and what goes with every policy of its kind."""
    own = (flag for field in policy.model_fields if field != "kind" for flag in _FIELDS.get(field, (field,)))
    in_steps = ("taylor_steps", "iterations") if issubclass(policy, SteppedPolicy) else ()
    measured = ("threads",) if policy.measures_latency else ()
    return (*own, *in_steps, *measured, *_PLANNED)


FLAGS_OF: Mapping[str, tuple[str, ...]] = {
    **{kind: _flags_of(policy) for kind, policy in POLICIES.items()},
    "seed": ("backbone_threshold", "global_ratio", "inherit"),
}
"""Policy → the flags that mean something with it."""

_RETRAINING = (*TRAINING_FLAGS, "initialise", "intermediate_epochs")


def add_pruning_flags(parser: Flags) -> None:
    """Adds all of them; which ones fit together is asked by `require_flags_that_fit`."""
    parser.add_argument(
        "--policy", type=_policy, choices=tuple(FLAGS_OF), help="how many channels stay (default: adaptive)"
    )
    parser.add_argument("--plan", type=Path, help="a plan.json to repeat; without one a plan is made")
    parser.add_argument(
        "--compensate", action="store_true", help="let the layers behind removed channels add what those leave behind"
    )
    parser.add_argument("--seed", type=seed_number, help="of random scores, random weights and retraining (default: 0)")
    parser.add_argument("--dataset", help=f"for taylor and --iterations; not without these: {DATASET}")

    add_channel_flags(parser)
    parser.add_argument("--batch-only", type=texts, help="layers that lose their instance norm (default: none)")
    add_fields(
        parser.add_argument_group("policy adaptive or seed"),
        AdaptivePolicy,
        backbone_threshold=float,
        global_ratio=float,
    )
    add_fields(parser.add_argument_group("policy uniform"), UniformPolicy, ratio=float)
    ratios = parser.add_argument_group("policy layer-ratios")
    ratios.add_argument(
        "--pruned-params", type=texts, help="groups or layers, as backbone.last,detail.* (default: none)"
    )
    ratios.add_argument(
        "--pruned-ratios", type=texts, help="share removed from each of them, as 0.3,0.4 (default: none)"
    )
    add_fields(
        parser.add_argument_group("policy global-threshold (--floor: budget and latency, too)"),
        GlobalThresholdPolicy,
        share=float,
        floor=float,
    )
    add_fields(parser.add_argument_group("policy budget"), BudgetPolicy, max_macs=amount, max_parameters=amount)
    latency = parser.add_argument_group("policy latency")
    add_fields(latency, LatencyPolicy, max_ms=float)
    latency.add_argument("--threads", type=positive, help="inference threads while measuring (default: 2)")
    seed = parser.add_argument_group("policy seed: the two files of MODNet-ModelCompression, by its own rule")
    seed.add_argument("--inherit", action="store_true", help="keep the weights of the channels that stay")

    add_fields(
        parser.add_argument_group("criterion taylor, policy budget or global-threshold"),
        PruningConfig,
        taylor_steps=int,
    )
    steps = parser.add_argument_group("in steps to a budget or a global threshold, retraining after each")
    steps.add_argument("--iterations", type=int, help=field_help(IterationConfig, "steps", "one pruning"))
    add_fields(steps, IterationConfig, intermediate_epochs=int)


def _policy(word: str) -> str:
    """The policy that a word means.

    Raises:
        ArgumentTypeError: it is what a policy was called before.
    """
    if word == "target":
        raise argparse.ArgumentTypeError("a limit to MACs or parameters is called budget now: --policy budget")
    return word


def add_channel_flags(parser: Flags) -> None:
    """Adds what says which channels of a group stay, and how narrow it may get."""
    which = parser.add_argument_group("which channels stay")
    add_choices(which, PruningConfig, "criterion", "aggregate")
    add_fields(which, PruningConfig, taylor_images=int, channel_multiple=int, min_channels=int)
    which.add_argument("--exclude", type=texts, help="groups or layers that lose nothing, as detail.* (default: none)")


def require_flags_that_fit(options: Options) -> None:
    """Refuses flags that would do nothing, and a policy without the flag that it cannot do without.

    Raises:
        UsageError: says which flag, and what it belongs to.
    """
    given = {name for name, value in vars(options).items() if value is not None and value is not False}
    of_policies = {name for flags in FLAGS_OF.values() for name in flags}
    if options.plan is not None:
        idle = given & ({"policy", "seed", "dataset", *of_policies, *_RETRAINING} - {"compensate"})
        if idle:
            raise UsageError(f"--plan says which channels stay: {flag_names(idle)} would do nothing")
        return
    policy = options.policy or "adaptive"
    for name in sorted(given & of_policies - set(FLAGS_OF[policy])):
        owners = [other for other, flags in FLAGS_OF.items() if name in flags]
        raise UsageError(f"{flag_names([name])} belongs to --policy {' or '.join(owners)}, got --policy {policy}")
    needed = {"layer-ratios": {"pruned_params", "pruned_ratios"}, "latency": {"max_ms"}}.get(policy, set()) - given
    if needed:
        raise UsageError(f"--policy {policy} needs {flag_names(needed)}")
    if policy == "budget" and not given & {"max_macs", "max_parameters"}:
        raise UsageError("--policy budget needs --max-macs, --max-parameters or both")
    _require_images(options, given)
    require_aggregate_that_fits(options)
    if options.seed is not None and options.criterion != "random" and policy != "seed" and options.iterations is None:
        raise UsageError(
            "--seed would do nothing: only --criterion random, --policy seed and --iterations draw numbers"
        )


def require_aggregate_that_fits(options: Options) -> None:
    """Refuses to bring scores of layers together where a group has one score.

    Raises:
        UsageError: says why.
    """
    if options.aggregate is not None and options.criterion in ("taylor", "random"):
        raise UsageError(
            f"--aggregate would do nothing: --criterion {options.criterion} has one score for all layers of a group"
        )


def _require_images(options: Options, given: set[str]) -> None:
    """What looks at images, or trains on them, has some; and what is given for that is used."""
    is_taylor, is_iterative = options.criterion == "taylor", options.iterations is not None
    if (is_taylor or is_iterative) and options.dataset is None:
        what = "--criterion taylor looks at images" if is_taylor else "--iterations retrains"
        raise UsageError(f"{what}: say on which data set with --dataset")
    if options.dataset is not None and not (is_taylor or is_iterative):
        raise UsageError("--dataset would do nothing: --criterion taylor and --iterations read it")
    if not is_taylor and (idle := given & {"taylor_images", "taylor_steps"}):
        raise UsageError(f"{flag_names(idle)} belongs to --criterion taylor")
    if is_iterative and options.overwrite:
        raise UsageError("--overwrite would do nothing: --iterations puts other settings into folders of their own")
    if is_iterative and options.compensate:
        raise UsageError("--compensate would be undone by retraining: it does not go with --iterations")
    if not is_iterative and (idle := given & set(_RETRAINING)):
        raise UsageError(f"{flag_names(idle)} belongs to --iterations, without which nothing is retrained")


def flag_names(names: Collection[str]) -> str:
    """`--image-size, --ratio` for the names of their fields."""
    return ", ".join(f"--{name.replace('_', '-')}" for name in sorted(names))
