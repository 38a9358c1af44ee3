"""`modnet prune`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from modnet.checkpoint import save_checkpoint
from modnet.configs import POLICIES, AdaptivePolicy, IterationConfig, LayerRatio, LayerRatiosPolicy, PruningConfig
from modnet.data.download import sha256_of_file
from modnet.errors import ConfigError, PruningError
from modnet.files import write_atomically
from modnet.pruning.plan import PruningPlan
from modnet.pruning.surgery import apply_plan
from modnet.workloads import settings_named
from modnet.workloads.matting.checkpoint import load
from modnet.workloads.matting.published.modelcompression import (
    prune_like_modelcompression,
    write_modelcompression_files,
)
from tasks.cli.fields import given_config
from tasks.cli.flags import Options, Result, require_free
from tasks.cli.given import cost, given_data, given_network, given_training
from tasks.cli.pruning_any import prune_any
from tasks.cli.pruning_flags import DEFAULT_POLICY, MODELCOMPRESSION, TIMING_THREADS, require_flags_that_fit
from tasks.pruning_evidence import plan_with_evidence
from tasks.tables import markdown_table


def prune(options: Options) -> Result:
    """Removes channels from a network. The channels that stay keep their weights."""
    require_flags_that_fit(options)
    if options.network is not None:
        config = None if options.plan is not None else _pruning_config(options)
        plan = None if options.plan is None else _read_plan(options.plan)
        return prune_any(options, config, plan, options.threads or TIMING_THREADS)
    if options.policy == MODELCOMPRESSION:
        return _pruned_like_modelcompression(options)
    if options.iterations is not None:
        return _pruned_in_steps(options)
    checkpoint_file, plan_file = options.out / "pruned.safetensors", options.out / "plan.json"
    require_free(options, checkpoint_file, plan_file)
    config = None if options.plan is not None else _pruning_config(options)  # wrong flags are told before files
    workload, given = given_network(options.checkpoint, options.prune_info)
    network = given.network
    if config is None:
        plan = _read_plan(options.plan)
    else:
        data = None if options.dataset is None else lambda: given_data(workload, options.dataset, network)
        plan = plan_with_evidence(network, config, workload, data, threads=options.threads or TIMING_THREADS)
    compact = apply_plan(network, plan, compensate=options.compensate)
    read = given.provenance.get("input_shape")  # what it was trained to read
    provenance = {
        **({} if read is None else {"input_shape": read}),
        "parent": sha256_of_file(options.checkpoint),
        "parent_spec": network.spec.model_dump(),
        "pruning": None if plan.config is None else plan.config.model_dump(),
    }
    save_checkpoint(compact, checkpoint_file, provenance)
    write_atomically(plan_file, plan.to_json().encode())
    files = {"checkpoint": str(checkpoint_file), "plan": str(plan_file)}
    before, after = cost(network), cost(compact)
    limits = dict(plan.config.policy.limits) if plan.config is not None and options.plan is None else {}
    if plan.latency is not None and options.plan is None:
        before["ms"], after["ms"] = plan.latency.unpruned_ms[-1], plan.latency.ms
    return _result(files, before, after, limits, plan.remarks, as_json=options.json)


def _pruning_config(options: Options) -> PruningConfig:
    """The config of pruning once; an error names the flag, and of a list the element."""
    kind, fields = POLICIES[options.policy or DEFAULT_POLICY], {}
    if kind is LayerRatiosPolicy:
        fields["ratios"] = _layer_ratios(options.pruned_params, options.pruned_ratios)
    config: PruningConfig = given_config(PruningConfig, options, policy=given_config(kind, options, **fields))
    return config


def _layer_ratios(patterns: list[str], ratios: list[str]) -> tuple[LayerRatio, ...]:
    if len(patterns) != len(ratios):
        longer, flag = max((patterns, "--pruned-params"), (ratios, "--pruned-ratios"), key=lambda pair: len(pair[0]))
        first = min(len(patterns), len(ratios))
        raise ConfigError(
            f"--pruned-params has {len(patterns)} elements, --pruned-ratios {len(ratios)}: "
            f"element {first + 1} of {flag}, {longer[first]!r}, has no partner"
        )
    entries = []
    for number, (pattern, ratio) in enumerate(zip(patterns, ratios, strict=True), start=1):
        try:
            entries.append(LayerRatio.model_validate({"pattern": pattern, "ratio": ratio}))
        except ValidationError as error:
            raise ConfigError(
                f"element {number} of --pruned-params and --pruned-ratios, {pattern!r} and {ratio!r}: "
                + "; ".join(f"{problem['loc'][0]}: {problem['msg']}" for problem in error.errors())
            ) from error
    return tuple(entries)


def _read_plan(path: Path) -> PruningPlan:
    try:
        return PruningPlan.from_json(path.read_bytes(), where=str(path))
    except OSError as error:
        raise PruningError(f"cannot read plan {path}: {error.strerror or error}") from error


def _pruned_like_modelcompression(options: Options) -> Result:
    network = load(options.checkpoint, options.prune_info)
    default = AdaptivePolicy()
    pruned = prune_like_modelcompression(
        network,
        threshold=default.backbone_threshold if options.backbone_threshold is None else options.backbone_threshold,
        ratio=default.global_ratio if options.global_ratio is None else options.global_ratio,
        seed=options.seed or 0,
        inherit=options.inherit,
    )
    require_free(options, *pruned.files_in(options.out))
    written = write_modelcompression_files(options.out, pruned)
    files = {"checkpoint": str(written.checkpoint), "prune_info": str(written.prune_info)}
    return _result(files, cost(network), cost(pruned.network), {}, (), as_json=options.json)


def _pruned_in_steps(options: Options) -> Result:
    from tasks.local_iteration import prune_iteratively  # which draws curves

    pruning = _pruning_config(options)
    workload, given = given_network(options.checkpoint, options.prune_info)
    retrain = given_training(settings_named(workload.name).retraining, options)
    config: IterationConfig = given_config(IterationConfig, options, pruning=pruning, retrain=retrain)
    checkpoints = prune_iteratively(
        options.checkpoint,
        given.network,
        workload,
        given_data(workload, options.dataset, given.network),
        config,
        options.out,
        seed=options.seed or 0,
        device=options.device,
    )
    paths = [str(path) for path in checkpoints]
    files = {"steps": paths} if options.json else {f"step {n}": path for n, path in enumerate(paths, start=1)}
    before, after = cost(given.network), cost(given_network(checkpoints[-1])[1].network)
    limits = dict(config.pruning.policy.limits)
    plans = [_read_plan(path.with_name("plan.json")) for path in checkpoints]
    remarks = [f"step {number}: {remark}" for number, plan in enumerate(plans, start=1) for remark in plan.remarks]
    return _result({**files, "checkpoint": paths[-1]}, before, after, limits, remarks, as_json=options.json)


def _result(
    files: Result, before: Result, after: Result, limits: Result, remarks: Sequence[str], *, as_json: bool
) -> Result:
    """What was written, what the network cost and costs, how far that is below a limit, what is not as asked."""
    if as_json:
        return {**files, **after, "before": before, "limits": limits, "remarks": list(remarks)}
    rows = []
    for name, now in after.items():
        row = {"": name, "before": _number(before[name]), "after": _number(now), "left": f"{now / before[name]:.1%}"}
        if limits:
            row |= {"limit": "", "below limit": ""}
        if name in limits:
            row |= {"limit": _number(limits[name]), "below limit": f"{1 - now / limits[name]:.2%}"}
        rows.append(row)
    return {**files, "table": "\n\n".join([markdown_table(rows), *remarks])}


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.1f}"
