"""Where the store keeps what is known of a network, unpruned or retrained."""

from __future__ import annotations

from infra.errors import NotStoredError
from infra.object_store import ObjectStore
from modnet.configs import ExportConfig
from modnet.records import BaseRecord, Candidate, RetrainReport, StoredFile
from tasks.stored import STAGE_VERSIONS, get_record, identify


def stored_network(store: ObjectStore, network_id: str) -> tuple[StoredFile, str]:
    """Checkpoint and data set of a base or a retrained candidate.

    Raises:
        NotStoredError: there is neither a base nor a retrained candidate of this name.
    """
    try:
        candidate = get_record(store, f"candidates/{network_id}/candidate.json", Candidate)
    except NotStoredError:
        base = get_record(store, f"bases/{network_id}/base.json", BaseRecord)
        return base.checkpoint, base.dataset_id
    report = get_record(store, f"candidates/{network_id}/retrained.json", RetrainReport)
    return report.checkpoint, candidate.dataset_id


def scores_key(checkpoint: StoredFile, dataset_id: str) -> str:
    """Key of a network's scores on a data set, in the `seed` protocol."""
    question = {"checkpoint": checkpoint.sha256, "dataset": dataset_id, "protocol": "seed"}
    return f"scores/{identify(**question, version=STAGE_VERSIONS['evaluate'])}.json"


def export_prefix(checkpoint: StoredFile, dataset_id: str, config: ExportConfig) -> str:
    """Where the deployable forms of a network stand; the data set counts because it calibrates INT8."""
    question = {"checkpoint": checkpoint.sha256, "dataset": dataset_id, "export": config.model_dump()}
    return f"exports/{identify(**question, version=STAGE_VERSIONS['export'])}"
