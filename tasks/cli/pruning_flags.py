"""What a person types about pruning: a policy with flags of its own, a criterion, limits, steps.

The fields of a policy's config are the flags of that policy: a new policy needs nothing here.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

from modnet.configs import (
    POLICIES,
    AdaptivePolicy,
    BudgetPolicy,
    IterationConfig,
    LayerRatio,
    LayerRatiosPolicy,
    Policy,
    PruningConfig,
    RetrainConfig,
    SparsityConfig,
)
from modnet.policies.policy import SteppedPolicy
from tasks.cli import flags
from tasks.cli.add_flag import Flags, add_flag
from tasks.cli.exit_codes import UsageError
from tasks.cli.fields import add_fields, flag_fields, flag_of, typed
from tasks.cli.flags import Options
from tasks.cli.values import SEED, Whole, texts

MODELCOMPRESSION = "modelcompression"  # the word for the published pruner's own rule, which is no policy of ours

DEFAULT_POLICY: str = PruningConfig().policy.kind
TIMING_THREADS = 2

_CHANNELS = ("criterion", "aggregate", "taylor_images", "channel_multiple", "min_channels", "exclude")
_PLANNED = (*_CHANNELS, "batch_only", "compensate")
_LISTS = ("pruned_params", "pruned_ratios")


def _flags_of(policy: type[Policy]) -> tuple[str, ...]:
    lists = _LISTS if policy is LayerRatiosPolicy else ()
    in_steps = ("taylor_steps", "iterations") if issubclass(policy, SteppedPolicy) else ()
    measured = ("threads",) if policy.measures_latency else ()
    return (*flag_fields(policy), *lists, *in_steps, *measured, *_PLANNED)


FLAGS_OF: Mapping[str, tuple[str, ...]] = {
    **{word: _flags_of(policy) for word, policy in POLICIES.items()},
    MODELCOMPRESSION: (*flag_fields(AdaptivePolicy), "inherit"),
}
"""Policy → the flags that mean something with it."""

_SPARSITY = (flag_of(SparsityConfig, name) for name in flag_fields(SparsityConfig))
_RETRAINING = {*flag_fields(RetrainConfig), *_SPARSITY, "intermediate_epochs"}


def add_pruning_flags(parser: argparse.ArgumentParser) -> None:
    """Adds all of them; which ones fit together is asked by `require_flags_that_fit`."""
    says = f"How many channels stay. {MODELCOMPRESSION}: MODNet-ModelCompression's own rule and its own two files."
    add_flag(parser, "--policy", says, type=_policy, choices=tuple(FLAGS_OF), without=DEFAULT_POLICY)
    add_flag(parser, "--plan", "A plan.json to repeat.", type=Path, without="a plan is made")
    says = "Folds the constant outputs of removed channels into the biases that follow."
    add_flag(parser, "--compensate", says, action="store_true")
    says = "Random scores, random weights and retraining start from this number."
    add_flag(parser, "--seed", says, type=SEED, without="0")
    add_flag(parser, "--dataset", f"Images for --criterion taylor and for --iterations: {flags.DATASET}")

    add_channel_flags(parser)
    add_fields(parser, PruningConfig, "batch_only")

    groups: dict[tuple[str, ...], Flags] = {}

    def of_policies(flag: str) -> Flags:
        owners = _owners(flag)
        if owners not in groups:
            groups[owners] = parser.add_argument_group(f"policy {' or '.join(owners)}")
        return groups[owners]

    fields = {name: policy for policy in POLICIES.values() for name in flag_fields(policy)}
    for name, policy in fields.items():
        add_fields(of_policies(name), policy, name)
    for flag, field, example in (
        ("pruned_params", "pattern", "backbone.last,detail.*"),
        ("pruned_ratios", "ratio", "0.3,0.4"),
    ):
        says = f"{LayerRatio.model_fields[field].description} A list, as {example}"
        add_flag(of_policies(flag), typed(flag), says, type=texts)
    says = "Inference threads while measuring."
    add_flag(of_policies("threads"), "--threads", says, type=Whole(1), without=str(TIMING_THREADS))
    says = "Keeps the weights of the channels that stay."
    add_flag(of_policies("inherit"), "--inherit", says, action="store_true")
    add_fields(of_policies("taylor_steps"), PruningConfig, "taylor_steps")

    steps = parser.add_argument_group("in steps, retraining after each")
    add_fields(steps, IterationConfig, "steps", without="pruned once, not retrained")
    add_fields(steps, IterationConfig, "intermediate_epochs")


def add_channel_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what says which channels of a group stay, and how narrow it may get."""
    add_fields(parser.add_argument_group("which channels stay"), PruningConfig, *_CHANNELS)


def require_flags_that_fit(options: Options) -> None:
    """Refuses flags that would do nothing, and a policy without the flag that it cannot do without.

    Raises:
        UsageError: says which flag, and what it belongs to.
    """
    given = {name for name, value in vars(options).items() if value is not None and value is not False}
    _require_one_network(options, given)
    of_policies = {name for names in FLAGS_OF.values() for name in names}
    if options.plan is not None:
        idle = given & ({"policy", "seed", "dataset", *of_policies, *_RETRAINING} - {"compensate"})
        if idle:
            raise UsageError(f"--plan says which channels stay: {typed(*idle)} would do nothing")
        return
    word = options.policy or DEFAULT_POLICY
    for name in sorted(given & of_policies - set(FLAGS_OF[word])):
        raise UsageError(f"{typed(name)} belongs to --policy {' or '.join(_owners(name))}, got --policy {word}")
    policy = POLICIES.get(word)
    if needed := _needed(policy) - given:
        raise UsageError(f"--policy {word} needs {typed(*needed)}")
    if policy is BudgetPolicy and not given & {"max_macs", "max_parameters"}:
        raise UsageError(f"--policy {word} needs --max-macs, --max-parameters or both")
    _require_images(options, given)
    require_aggregate_that_fits(options)
    draws = options.criterion == "random" or word == MODELCOMPRESSION or options.iterations is not None
    if options.seed is not None and not draws:
        drawing = f"--criterion random, --policy {MODELCOMPRESSION} and --iterations"
        raise UsageError(f"--seed would do nothing: only {drawing} draw numbers")


def require_aggregate_that_fits(options: Options) -> None:
    """Refuses, with a UsageError, to bring scores of layers together where a group has one score."""
    if options.aggregate is not None and options.criterion in ("taylor", "random"):
        why = f"--criterion {options.criterion} has one score for all layers of a group"
        raise UsageError(f"--aggregate would do nothing: {why}")


def _require_one_network(options: Options, given: set[str]) -> None:
    """A checkpoint, or a network of the user's own code with what belongs to it."""
    if (options.checkpoint is None) == (options.network is None):
        raise UsageError("say which network: exactly one of --checkpoint and --network")
    if options.network is None:
        if idle := given & {"example", "weights", "keep_unknown"}:
            raise UsageError(f"{typed(*idle)} belongs to --network")
        return
    if idle := given & {"prune_info", "dataset", "iterations", "batch_only"}:
        raise UsageError(f"{typed(*idle)} belongs to --checkpoint: nobody knows the data of --network, nor its norms")
    if options.criterion == "taylor" or options.policy == MODELCOMPRESSION:
        raise UsageError(
            "--network takes no --criterion taylor, which looks at images, and no --policy modelcompression"
        )
    if options.plan is None and options.example is None:
        raise UsageError("--network needs --example: the shapes of its inputs")
    if options.plan is not None and (idle := given & {"example", "keep_unknown"}):
        raise UsageError(f"{typed(*idle)} would do nothing: --plan says it")


def _policy(word: str) -> str:
    if word == "target":  # what version 0.1.0 called it
        raise argparse.ArgumentTypeError("a limit to MACs or parameters is called budget now: --policy budget")
    return word


def _owners(flag: str) -> tuple[str, ...]:
    return tuple(word for word, names in FLAGS_OF.items() if flag in names)


def _needed(policy: type[Policy] | None) -> set[str]:
    if policy is None:
        return set()
    if policy is LayerRatiosPolicy:
        return {*_LISTS}
    return {name for name in flag_fields(policy) if policy.model_fields[name].is_required()}


def _require_images(options: Options, given: set[str]) -> None:
    """What looks at images, or trains on them, has some; and what is given for that is used."""
    is_taylor, is_iterative = options.criterion == "taylor", options.iterations is not None
    if (is_taylor or is_iterative) and options.dataset is None:
        what = "--criterion taylor looks at images" if is_taylor else "--iterations retrains"
        raise UsageError(f"{what}: say on which data set with --dataset")
    if options.dataset is not None and not (is_taylor or is_iterative):
        raise UsageError("--dataset would do nothing: only --criterion taylor and --iterations read it")
    if not is_taylor and (idle := given & {"taylor_images", "taylor_steps"}):
        raise UsageError(f"{typed(*idle)} belongs to --criterion taylor")
    if is_iterative and options.overwrite:
        raise UsageError("--overwrite would do nothing: --iterations puts other settings into folders of their own")
    if is_iterative and options.compensate:
        raise UsageError("--compensate would do nothing: --iterations retrains, which undoes it")
    if not is_iterative and (idle := given & _RETRAINING):
        raise UsageError(f"{typed(*idle)} belongs to --iterations: without it nothing is retrained")
