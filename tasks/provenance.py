"""What a release says of where it comes from: read from the answers in the store that led to it."""

from __future__ import annotations

from infra.device.documents.json_object import parse_json
from infra.device.stores.object_store import ObjectStore
from modnet.configs import ExportConfig
from modnet.records import (
    BaseRecord,
    Candidate,
    DataOrigin,
    ExportRecord,
    NetworkOrigin,
    NetworkScores,
    Provenance,
    PruningStep,
    RetrainReport,
)
from tasks.stored import get_record
from tasks.stored_dataset import read_dataset
from tasks.stored_network import base_key, candidate_key, retrained_key, root_id, stored_network


def provenance_of(
    store: ObjectStore, export: ExportRecord, config: ExportConfig, scores: NetworkScores, reason: str
) -> Provenance:
    """How an export came about, back to the unpruned network.

    Raises:
        NotStoredError: an answer that led to it is gone.
    """
    start_id, steps = export.network_id, list[PruningStep]()
    while store.exists(candidate_key(start_id)):
        candidate = get_record(store, candidate_key(start_id), Candidate)
        steps.insert(0, _step(store, candidate))
        start_id = candidate.parent_id
    base_id = root_id(store, export.network_id)
    dataset = read_dataset(store, stored_network(store, export.network_id)[1])
    return Provenance(
        reason=reason,
        dataset=DataOrigin(
            sha256=dataset.archive.sha256,
            **dataset.model_dump(include={"dataset_id", "source", "is_synthetic", "fit", "tune", "val"}),
        ),
        base=_origin(store, base_id),
        start=None if start_id == base_id else _origin(store, start_id),
        steps=tuple(steps),
        parameters=scores.complexity.parameters,
        macs=scores.complexity.macs,
        export=config,
        versions=export.versions,
        scores_protocol=scores.val.protocol,
        target_scores_protocol=export.protocol,
        refused=export.refused,
        legacy=export.legacy,
    )


def _origin(store: ObjectStore, base_id: str) -> NetworkOrigin:
    base = get_record(store, base_key(base_id), BaseRecord)
    return NetworkOrigin(network_id=base_id, sha256=base.checkpoint.sha256, origin=base.origin, made=base.made)


def _step(store: ObjectStore, candidate: Candidate) -> PruningStep:
    name = candidate.candidate_id
    plan_key = f"candidates/{name}/plan.json"
    return PruningStep(
        network_id=name,
        sha256=get_record(store, retrained_key(name), RetrainReport).checkpoint.sha256,
        plan_sha256=parse_json(store.get(plan_key), plan_key, max_bytes=1 << 26).text("sha256"),
        pruning=candidate.pruning,
        retrain=candidate.retrain,
        seed=candidate.seed,
    )
