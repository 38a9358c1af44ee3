"""Candidates: a stored network with fewer channels, and what retraining makes of it."""

import time
from collections.abc import Callable

from modnet.checkpoint import to_bytes
from modnet.configs import PruningConfig, RetrainConfig
from modnet.configs.shape import orientations, shape_in
from modnet.errors import ConfigError, HoursOverError
from modnet.pruning.complexity import complexity
from modnet.pruning.iteration import IterationStep
from modnet.pruning.surgery import apply_plan
from modnet.records import Candidate, RetrainReport, RungReport
from modnet.workloads import settings_named
from tasks.pruning_evidence import plan_with_evidence
from tasks.remote.node import Node
from tasks.remote.training import trained
from tasks.stored import get_record, once, put_file
from tasks.stored_dataset import read_dataset
from tasks.stored_network import candidate_key, root_id, stored_network
from tasks.training_run import Paused, start_of_retraining


def prune_network(
    node: Node,
    parent_id: str,
    pruning: PruningConfig,
    training: RetrainConfig,
    seed: int,
    candidate_id: str,
    base_id: str | None = None,
) -> Candidate:
    """Removes channels of a stored network; the candidate remembers how it is to be retrained.

    The base, that of the parent where none is said, teaches, and reports compare with it.
    """
    checkpoint, dataset_id = stored_network(node.store, parent_id)
    network = node.checkpoint(checkpoint, dataset_id).network
    workload = node.workload(dataset_id)
    plan = plan_with_evidence(network, pruning, workload, lambda: node.data(dataset_id), threads=node.cpus)
    compact = apply_plan(network, plan)
    node.store.put(f"candidates/{candidate_id}/plan.json", plan.to_json().encode())
    parent = {"parent": checkpoint.sha256, "parent_spec": network.spec.model_dump()}
    pruned = to_bytes(compact, {**parent, "pruning": pruning.model_dump()})
    return Candidate(
        candidate_id=candidate_id,
        base_id=base_id or root_id(node.store, parent_id),
        parent_id=parent_id,
        dataset_id=dataset_id,
        pruning=pruning,
        retrain=training.model_dump(mode="json"),
        seed=seed,
        pruned=put_file(node.store, f"candidates/{candidate_id}/pruned.safetensors", pruned),
        complexity=complexity(compact),
        remarks=plan.remarks,
    )


def train_to_rung(node: Node, candidate_id: str, epochs: int, ends_at: float) -> RungReport:
    """Retrains a pruned candidate up to an epoch of its training; the state stays for who goes on.

    Args:
        node: this node.
        candidate_id: of the candidate.
        epochs: that its training shall have then, fewer than a whole one has.
        ends_at: when it must pause, in seconds since 1970.

    Raises:
        HoursOverError: that time is over; the state stays as well.
    """
    try:
        retrain_candidate(node, candidate_id, lambda ended: ended >= epochs or time.time() >= ends_at)
    except Paused as paused:
        ended = len(paused.history)
        if ended < epochs:
            raise HoursOverError(
                f"candidate {candidate_id}: the hours are over after {ended} epochs, of {epochs}"
            ) from None
        errors = [one.tune_error for one in paused.history[:epochs] if one.tune_error is not None]
        if not errors:
            raise ConfigError(
                f"candidate {candidate_id}: no score after {epochs} epochs; set validate_every to 1"
            ) from None
        return RungReport(candidate_id=candidate_id, epochs=epochs, tune_error=errors[-1], seconds=paused.seconds)
    raise ConfigError(f"candidate {candidate_id}: asked for {epochs} epochs, its whole training has no more")


def train_to_end(node: Node, candidate_id: str, ends_at: float) -> RetrainReport:
    """Like `retrain_candidate`, up to a time in seconds since 1970.

    Raises:
        HoursOverError: that time is over; the state of the training stays.
    """
    try:
        return retrain_candidate(node, candidate_id, lambda _: time.time() >= ends_at)
    except Paused as paused:
        ended = len(paused.history)
        raise HoursOverError(f"candidate {candidate_id}: the hours are over after {ended} epochs") from None


def retrain_candidate(node: Node, candidate_id: str, pauses: Callable[[int], bool] | None = None) -> RetrainReport:
    """Retrains a pruned candidate on the `fit` split of its data set.

    Raises:
        Paused: `pauses` has said so, see `run_training`.
    """
    folder = f"candidates/{candidate_id}"
    candidate = get_record(node.store, candidate_key(candidate_id), Candidate)
    dataset_id, seed = candidate.dataset_id, candidate.seed
    workload = node.workload(dataset_id)
    config = settings_named(workload.name).retraining.model_validate(candidate.retrain)
    checkpoint = node.checkpoint(candidate.pruned, dataset_id)
    network = start_of_retraining(checkpoint.network, workload, config, seed)
    teacher = None if config.distillation is None else node.network(candidate.base_id)
    dataset = read_dataset(node.store, dataset_id)
    own = candidate.pruning.input_shape
    shapes = dataset.shapes if own is None else orientations(shape_in(own), turned=dataset.turned)
    report = trained(
        node, network, dataset_id, config, seed=seed, folder=folder, teacher=teacher, shapes=shapes, pauses=pauses
    )
    provenance = {**checkpoint.provenance, "dataset": dataset_id, "retrain": config.model_dump(), "seed": seed}
    file = put_file(node.store, f"{folder}/retrained.safetensors", to_bytes(network, provenance))
    return RetrainReport(candidate_id=candidate_id, checkpoint=file, training=report)


def take_step(node: Node, parent_id: str, step: IterationStep, seed: int, candidate_id: str) -> RetrainReport:
    """Prunes and retrains once on the way to what was asked; what is done of it already is not done again."""
    question = (parent_id, step.pruning, step.retrain, seed, candidate_id)
    once(node.store, candidate_key(candidate_id), Candidate, lambda: prune_network(node, *question))
    return retrain_candidate(node, candidate_id)
