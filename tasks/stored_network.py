"""Where the store keeps what is known of a network, unpruned or retrained."""

import socket
from collections.abc import Mapping, Sequence
from typing import Any

from infra.device.documents.pointer import Pointer
from infra.device.errors import NotStoredError
from infra.device.stores.object_store import ObjectStore
from infra.settings import Settings
from modnet.configs import ExportConfig, PruningConfig, RetrainConfig, TrainingConfig
from modnet.export.legacy_runtimes import LegacyRuntime
from modnet.records import BaseRecord, Candidate, ExportRecord, RetrainReport, StoredFile, TimedForms
from modnet.targets import VARIANTS, Shape, Target
from tasks.stored import STAGE_VERSIONS, get_record, identify, recall
from tasks.stored_dataset import read_dataset


def stored_network(store: ObjectStore, network_id: str) -> tuple[StoredFile, str]:
    """Checkpoint and data set of a base or a retrained candidate.

    Raises:
        NotStoredError: there is neither a base nor a retrained candidate of this name.
    """
    if (candidate := _candidate(store, network_id)) is None:
        base = get_record(store, base_key(network_id), BaseRecord)
        return base.checkpoint, base.dataset_id
    return get_record(store, retrained_key(network_id), RetrainReport).checkpoint, candidate.dataset_id


def root_id(store: ObjectStore, network_id: str) -> str:
    """The base that a network was pruned from, in however many steps; a base's own name.

    Raises:
        NotStoredError: there is no such base or candidate.
    """
    return (_candidate(store, network_id) or get_record(store, base_key(network_id), BaseRecord)).base_id


def label_of(store: ObjectStore, network_id: str) -> str:
    """Short name of a network for tables: its candidate's; that of a base, or of one that is gone, is its id."""
    candidate = recall(store, candidate_key(network_id), Candidate)
    return network_id if candidate is None else candidate.label


def _candidate(store: ObjectStore, network_id: str) -> Candidate | None:
    try:
        return get_record(store, candidate_key(network_id), Candidate)
    except NotStoredError:
        return None


def pruned_id(
    store: ObjectStore,
    parent_id: str,
    pruning: PruningConfig,
    training: RetrainConfig,
    seed: int,
    base_id: str | None = None,
) -> str:
    """Name of the candidate that pruning a stored network gives; its parent counts with its weights.

    A base that is not the parent's own counts as well: it teaches.

    Raises:
        NotStoredError: the parent is neither a base nor a retrained candidate.
    """
    parent, dataset_id = stored_network(store, parent_id)
    other_base = {} if base_id is None else {"base": stored_network(store, base_id)[0].sha256}
    return identify(
        **other_base,
        parent=parent.sha256,
        dataset=dataset_id,
        pruning=pruning.model_dump(),
        retrain=training.model_dump(),
        seed=seed,
        versions={stage: STAGE_VERSIONS[stage] for stage in ("dataset", "base", "prune", "retrain")},
    )


def trained_base_id(dataset_id: str, config: TrainingConfig, seed: int, backbone: StoredFile | None) -> str:
    """Name of the unpruned network that this training gives, from a backbone or from random weights."""
    return identify(
        dataset=dataset_id,
        training=config.model_dump(),
        seed=seed,
        backbone=None if backbone is None else backbone.sha256,
        version=STAGE_VERSIONS["base"],
    )


def base_key(base_id: str) -> str:
    """Key of a BaseRecord."""
    return f"bases/{base_id}/base.json"


def candidate_key(candidate_id: str) -> str:
    """Key of a Candidate."""
    return f"candidates/{candidate_id}/candidate.json"


def retrained_key(candidate_id: str) -> str:
    """Key of a RetrainReport."""
    return f"candidates/{candidate_id}/retrained.json"


def state_key(folder: str) -> str:
    """Key of the state of a training that is not done, of the run that keeps its files in `folder`."""
    return f"{folder}/training-state-2.pt"  # those of before said otherwise what they were of


def progress_key(folder: str) -> str:
    """Key of the TrainingProgress of the run that keeps its files in `folder`."""
    return f"{folder}/progress.json"


def shaped(store: ObjectStore, network_id: str, config: ExportConfig) -> ExportConfig:
    """How a network is exported: at a candidate's own input shape, else at the run's, else at its data set's.

    Turned as well where the run says so, or says nothing and the data set's images are of both orientations.
    """
    candidate = _candidate(store, network_id)
    dataset_id = stored_network(store, network_id)[1] if candidate is None else candidate.dataset_id
    dataset = read_dataset(store, dataset_id)
    wanted = (candidate and candidate.pruning.input_shape) or config.input_shape or dataset.input_shape
    turned = dataset.turned if config.turned is None else config.turned
    return config.model_copy(update={"input_shape": wanted, "turned": turned})


def scores_key(store: ObjectStore, network_id: str, shapes: Sequence[Shape]) -> str:
    """Key of a network's NetworkScores on its data set, at the input shapes that it would be released for."""
    question = {**_network(store, network_id), "shapes": shapes}
    return f"scores/{identify(**question, version=STAGE_VERSIONS['evaluate'])}.json"


def sheet_key(store: ObjectStore, networks: Mapping[str, Sequence[Shape]]) -> str:
    """Key of the Sheet of what networks make of some images, each at its input shapes."""
    question = [(_network(store, network_id), shapes) for network_id, shapes in networks.items()]
    return f"sheets/{identify(networks=question, version=STAGE_VERSIONS['evaluate'])}.json"


def export_key(store: ObjectStore, network_id: str, config: ExportConfig) -> str:
    """Key of a network's ExportRecord; the data set counts because it calibrates INT8.

    Where old runtimes are asked, those that are installed here count: what was not verified is, once they are. A node
    is told the key, as other runtimes may be installed there.
    """
    question = {**_network(store, network_id), "export": config.model_dump()}
    if config.verify_on_legacy:
        legacy_folder = Settings.from_env().legacy_folder
        versions = {version for target in config.targets for version in VARIANTS[target].legacy_runtimes}
        question["installed"] = sorted(one for one in versions if LegacyRuntime(legacy_folder, one).is_installed)
    return f"exports/{identify(**question, version=STAGE_VERSIONS['export'])}/export.json"


def timed_key(store: ObjectStore, network_id: str, config: ExportConfig, targets: Sequence[Target]) -> str:
    """Key of a network's TimedForms; the data set counts because it calibrates INT8."""
    read = config.model_dump(include={"input_shape", "input_format", "max_output_difference", "calibration_images"})
    question = {**_network(store, network_id), "export": read, "targets": list(targets)}
    return f"timed/{identify(**question, version=STAGE_VERSIONS['export'])}/forms.json"


def _network(store: ObjectStore, network_id: str) -> dict[str, Any]:
    """What a question says of the network that it is about."""
    checkpoint, dataset_id = stored_network(store, network_id)
    return {"checkpoint": checkpoint.sha256, "dataset": dataset_id}


def latencies_key(forms: Sequence[TimedForms], threads: int) -> str:
    """Key of the HostLatencies of these forms on this machine."""
    irs = [{name: file.sha256 for name, file in one.files.items()} for one in forms]
    return f"latencies/{identify(irs=irs, threads=threads, host=socket.gethostname())}.json"


def challenge_key(target: Target, current: Pointer, export: ExportRecord, dataset_id: str, threads: int) -> str:
    """Key of the Challenge of an export against a target's current release, on this machine."""
    question = {
        "version": 2,  # since it has the interval of the difference of errors
        "target": target,
        "current": current.manifest_sha256,
        "new": [export.files[name].sha256 for name in export.ir_files(target)],
        "dataset": dataset_id,
        "threads": threads,
        "host": socket.gethostname(),
    }
    return f"challenges/{identify(**question)}.json"


def evidence_key(target: str, against: str, release_id: str) -> str:
    """Key of the Challenge of a release on trial against the one that a target ran, on whatever machine it was."""
    return f"challenges/{identify(target=target, against=against, release=release_id)}.json"
