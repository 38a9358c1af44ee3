"""Iterative pruning on files of this machine, without a store."""

from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch

from modnet.checkpoint import read_checkpoint, save_checkpoint
from modnet.configs import IterationConfig
from modnet.configs.shape import shape_in
from modnet.data.download import sha256_of_file
from modnet.files import write_atomically
from modnet.network import PrunableNetwork
from modnet.pruning.complexity import complexity
from modnet.pruning.iteration import iteration_steps
from modnet.pruning.surgery import apply_plan
from modnet.report.training_plots import gamma_plot, training_plot
from modnet.training.state import TrainingState
from modnet.workload import LabelledData, Split, Workload
from tasks.pruning_evidence import plan_with_evidence
from tasks.stored import STAGE_VERSIONS, identify
from tasks.training_run import run_training, start_of_retraining


def prune_iteratively(
    checkpoint: Path,
    unpruned: PrunableNetwork,
    workload: Workload[Any],
    data: LabelledData,
    config: IterationConfig,
    out: Path,
    *,
    seed: int = 0,
    device: str = "cpu",
) -> list[Path]:
    """Prunes and retrains in the steps of `config`; one checkpoint per step, the last as small as was asked.

    Step k writes `plan.json`, `pruned.safetensors`, `training.json`, `training.png` and `retrained.safetensors` into
    the folder `step-<k>-<digest>` of `out`, and `scales.png` after sparse training. The digest is that of the question:
    parent's bytes, names of the data set's files, settings. A second call finds the steps that are done, and goes on in
    the one that was cut, at its last saved state.

    `checkpoint` is the file of the unpruned network. Training is done on the device `cpu` or `cuda`.

    Raises:
        CheckpointError: a checkpoint or training state is damaged.
        PruningError: a step cannot meet its budget.
        TrainingDivergedError: the loss is not finite.
    """
    network, parent, retrained = unpruned, checkpoint, []
    for step in iteration_steps(config, complexity(network)):
        settings = {"pruning": step.pruning.model_dump(), "retrain": step.retrain.model_dump()}
        question = {"parent": sha256_of_file(parent), **settings, "seed": seed}
        names = {split: data.names(split) for split in get_args(Split)}
        versions = {stage: STAGE_VERSIONS[stage] for stage in ("dataset", "prune", "retrain")}
        name = f"step-{step.number}-{identify(**question, dataset=names, versions=versions)}"
        folder = out / name
        parent = folder / "retrained.safetensors"
        if not parent.exists():
            folder.mkdir(parents=True, exist_ok=True)
            provenance = {**question, "parent_spec": network.spec.model_dump()}
            pruned, state = folder / "pruned.safetensors", folder / "training-state.pt"
            if not pruned.exists():  # a plan that looked at images is not made again to the last bit
                plan = plan_with_evidence(
                    network, step.pruning, workload, lambda: data, threads=torch.get_num_threads()
                )
                write_atomically(folder / "plan.json", plan.to_json().encode())
                save_checkpoint(apply_plan(network, plan), pruned, provenance)
            compact = start_of_retraining(read_checkpoint(pruned, workload).network, workload, step.retrain, seed)
            report = run_training(
                compact,
                workload,
                data,
                step.retrain,
                seed=seed,
                device=device,
                save=partial(_save, state),
                saved=state.read_bytes() if state.exists() else None,
                saved_in=str(state),
                teacher=unpruned if step.retrain.distillation is not None else None,
                shapes=() if step.pruning.input_shape is None else (shape_in(step.pruning.input_shape),),
            )
            write_atomically(folder / "training.json", report.model_dump_json().encode())
            if report.scales:
                write_atomically(folder / "scales.png", gamma_plot(report.scales, f"sparse training in {name}"))
            write_atomically(folder / "training.png", training_plot(report.history, f"training in {name}"))
            save_checkpoint(compact, parent, provenance)
            state.unlink(missing_ok=True)
        network = read_checkpoint(parent, workload).network
        retrained.append(parent)
    return retrained


def _save(state: Path, reached: TrainingState) -> None:
    write_atomically(state, reached.to_bytes())
