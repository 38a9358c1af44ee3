"""`modnet prune --network`: networks of anybody's code, whose channel groups are found by tracing them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from modnet.configs import PruningConfig
from modnet.errors import CheckpointError, ConfigError, PruningError
from modnet.files import write_atomically
from modnet.pruning.inspection import inspect_network
from modnet.pruning.plan import PruningPlan, plan_pruning
from modnet.pruning.surgery import apply_plan
from modnet.pruning.traced_network import TracedNetwork
from modnet.report.inspection_tables import group_rows, total_rows
from modnet.torch_file import START_BYTES, read_torch_file
from tasks.cli.flags import Options, Result, require_free
from tasks.pruning_evidence import measure_latency
from tasks.tables import markdown_table

PRUNED, PLAN, PICTURE = "pruned.safetensors", "plan.json", "channels.png"


def prune_any(options: Options, config: PruningConfig | None, plan: PruningPlan | None, threads: int) -> Result:
    """Prunes the network of a factory by a config, or by a plan that was made of it before.

    Writes the weights that stay, under the names that the network has for them, the plan, and a picture.

    Raises:
        CheckpointError: `--weights` cannot be read or do not fit.
        ConfigError: there is no such factory, or it makes no network.
        PruningError: it cannot be traced, or has no channels that can go.
    """
    from modnet.report.channel_chart import channel_chart  # with matplotlib

    files = {name: options.out / name for name in (PRUNED, PLAN, PICTURE)}
    require_free(options, *files.values())
    module = _made(options.network)
    if options.weights is not None:
        _load(module, options.weights)
    shapes, keep_unknown = options.example, options.keep_unknown
    if plan is not None:
        if plan.traced is None:
            raise PruningError(f"{options.plan} is the plan of a network that declares its groups, not of a traced one")
        shapes, keep_unknown = plan.traced.inputs, plan.traced.keep_unknown
    network = TracedNetwork(module.eval(), [torch.zeros(shape) for shape in shapes], keep_unknown=keep_unknown)
    if not any(group.prunable for group in network.channel_groups()):
        why = "; ".join(sorted(set(network.grouping.kept.values())))
        raise PruningError(f"{options.network} has no channels that can go: {why}")
    if plan is None:
        assert config is not None
        plan = plan_pruning(network, config, measure_latency=measure_latency(threads))
    compact = apply_plan(network, plan, compensate=options.compensate)
    before, after = inspect_network(network), inspect_network(compact)
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in compact.state_dict().items()}
    options.out.mkdir(parents=True, exist_ok=True)
    write_atomically(files[PRUNED], save(tensors))
    write_atomically(files[PLAN], plan.to_json().encode())
    write_atomically(files[PICTURE], channel_chart(after, before))
    written = {"weights": str(files[PRUNED]), "plan": str(files[PLAN]), "picture": str(files[PICTURE])}
    kept = network.grouping.kept
    if options.json:
        costs = {"before": before.total._asdict(), **after.total._asdict()}
        return {**written, **costs, "kept": dict(kept), "remarks": list(plan.remarks)}
    tables = [total_rows(after, before), group_rows(after, before)]
    why_kept = [{"stays whole": name, "because it": why} for name, why in kept.items()]
    tables += [why_kept] if why_kept else []
    return {**written, "table": "\n\n".join([*(markdown_table(rows) for rows in tables), *plan.remarks])}


def _made(place: str) -> nn.Module:
    """The network of a factory `package.module:factory`; the current folder is searched first."""
    path, _, name = place.partition(":")
    if not path or not name:
        raise ConfigError(f"--network: got {place!r}, wanted package.module:factory")
    sys.path.insert(0, str(Path.cwd()))
    try:
        factory = getattr(importlib.import_module(path), name)
        network = factory()
    except Exception as error:  # the code is anybody's
        raise ConfigError(f"--network {place}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(Path.cwd()))
    if not isinstance(network, nn.Module):
        raise ConfigError(f"--network {place}: gave a {type(network).__name__}, wanted a torch.nn.Module")
    return network


def _load(network: nn.Module, path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(START_BYTES)
        state: Mapping[str, Tensor] = load_file(path) if start[8:9] == b"{" else read_torch_file(path, start)
        network.load_state_dict(state)
    except OSError as error:
        raise CheckpointError(f"cannot read weights {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise CheckpointError(f"weights {path} are damaged: {error}") from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"weights {path} do not fit {type(network).__name__}: {reason}") from error
    for name, tensor in network.state_dict().items():
        if not tensor.isfinite().all():
            raise CheckpointError(f"weights {path}: {name} holds values that are not finite")
