"""Candidates: a stored network with fewer channels, and what retraining makes of it."""

from __future__ import annotations

import torch

from modnet.checkpoint import to_bytes
from modnet.configs import PruningConfig, RetrainConfig
from modnet.pruning.complexity import complexity
from modnet.pruning.iteration import IterationStep
from modnet.pruning.surgery import apply_plan
from modnet.records import Candidate, RetrainReport
from tasks.pruning_evidence import plan_with_evidence
from tasks.remote.node import this_node
from tasks.remote.training import forget_state, trained
from tasks.stored import get_record, once, put_file
from tasks.stored_network import candidate_key, retrained_key, root_id, stored_network


def prune_network(
    parent_id: str,
    pruning: PruningConfig,
    training: RetrainConfig,
    seed: int,
    candidate_id: str,
    cpus: int,
    base_id: str | None = None,
) -> Candidate:
    """Removes channels of a stored network; the candidate remembers how it is to be retrained.

    Args:
        parent_id: what is pruned.
        candidate_id: what `pruned_id` makes of the question.
        base_id: the unpruned network that teaches and that reports compare with; None: what the parent came from.
    """
    node = this_node(cpus)
    checkpoint, dataset_id = stored_network(node.store, parent_id)

    def compute() -> Candidate:
        network = node.checkpoint(checkpoint, dataset_id).network
        workload = node.workload(dataset_id)
        plan = plan_with_evidence(network, pruning, workload, lambda: node.data(dataset_id), threads=cpus)
        compact = apply_plan(network, plan)
        node.store.put(f"candidates/{candidate_id}/plan.json", plan.to_json().encode())
        provenance = {
            "parent": checkpoint.sha256,
            "parent_spec": network.spec.model_dump(),
            "pruning": pruning.model_dump(),
        }
        pruned = to_bytes(compact, provenance)
        return Candidate(
            candidate_id=candidate_id,
            base_id=base_id or root_id(node.store, parent_id),
            parent_id=parent_id,
            dataset_id=dataset_id,
            pruning=pruning,
            retrain=training,
            seed=seed,
            pruned=put_file(node.store, f"candidates/{candidate_id}/pruned.safetensors", pruned),
            complexity=complexity(compact),
            remarks=plan.remarks,
        )

    return once(node.store, candidate_key(candidate_id), Candidate, compute)


def retrain_candidate(candidate_id: str, cpus: int, gpus: float) -> RetrainReport:
    """Retrains a pruned candidate on the `fit` split of its data set."""
    node, folder = this_node(cpus), f"candidates/{candidate_id}"
    candidate = get_record(node.store, candidate_key(candidate_id), Candidate)

    def compute() -> RetrainReport:
        config, dataset_id, seed = candidate.retrain, candidate.dataset_id, candidate.seed
        checkpoint = node.checkpoint(candidate.pruned, dataset_id)
        network = checkpoint.network
        if config.initialise == "scratch":
            torch.manual_seed(seed)
            network = node.workload(dataset_id).network(network.spec)
        teacher = None if config.distillation is None else node.network(candidate.base_id)
        report = trained(node, network, dataset_id, config, seed=seed, gpus=gpus, folder=folder, teacher=teacher)
        provenance = {
            **checkpoint.provenance,
            "dataset": dataset_id,
            "retrain": config.model_dump(),
            "seed": seed,
        }
        file = put_file(node.store, f"{folder}/retrained.safetensors", to_bytes(network, provenance))
        return RetrainReport(candidate_id=candidate_id, checkpoint=file, training=report)

    record = once(node.store, retrained_key(candidate_id), RetrainReport, compute)
    forget_state(folder, node.store)
    return record


def take_step(
    parent_id: str, step: IterationStep, seed: int, candidate_id: str, cpus: int, gpus: float
) -> RetrainReport:
    """Prunes and retrains once on the way to what was asked; what is done of it already is not done again."""
    prune_network(parent_id, step.pruning, step.retrain, seed, candidate_id, cpus)
    return retrain_candidate(candidate_id, cpus, gpus)
