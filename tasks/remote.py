"""What runs on a Ray node: one function per stage, each from records and store to a record in the store.

A node shares nothing with the others but the object store; its address and keys come from the node's environment
(`infra.settings`). Every function looks first whether its answer is there already.
"""

from __future__ import annotations

import hashlib
import platform
import time
from pathlib import Path

import torch

from infra.device.errors import NotStoredError
from infra.device.stores.object_store import ObjectStore, open_store
from infra.errors import ResourcesUnavailableError
from infra.settings import Settings
from modnet.checkpoint import to_bytes
from modnet.configs import ALL_METRICS, PruningConfig, RetrainConfig, TrainingConfig
from modnet.errors import CheckpointError
from modnet.pruning.complexity import complexity
from modnet.pruning.iteration import IterationStep
from modnet.pruning.surgery import apply_plan
from modnet.records import (
    BaseRecord,
    Candidate,
    NetworkScores,
    RetrainReport,
    StoredFile,
    TrainingReport,
)
from modnet.report.gamma_plot import gamma_plot
from modnet.report.pictures import MatteRow, matte_sheet
from modnet.report.training_plot import training_plot
from modnet.training.state import TrainingState
from modnet.workloads.matting.checkpoint import load, read_checkpoint
from modnet.workloads.matting.data.images import read_pair
from modnet.workloads.matting.evaluate import evaluate
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.predict.predictors import TorchPredictor
from modnet.workloads.matting.weights import SHIPPED_BASE, SHIPPED_SMALL
from tasks.pruning_evidence import plan_with_evidence
from tasks.stored import STAGE_VERSIONS, fetch, get_record, identify, once, put_file, put_record, upload
from tasks.stored_dataset import open_dataset
from tasks.stored_network import (
    base_key,
    candidate_key,
    progress_key,
    retrained_key,
    root_id,
    state_key,
    stored_network,
)
from tasks.training_run import run_training, start_from_backbone

SHOWN_MATTES = 4


def train_base(
    dataset_id: str,
    config: TrainingConfig,
    seed: int,
    backbone: StoredFile | None,
    base_id: str,
    cpus: int,
    gpus: float,
) -> BaseRecord:
    """Trains an unpruned network on the `fit` split, from random weights or from those of a stored backbone.

    Args:
        base_id: what `trained_base_id` makes of the arguments before it.
    """
    settings, store = this_node(cpus)
    folder = f"bases/{base_id}"

    def compute() -> BaseRecord:
        torch.manual_seed(seed)
        network = MODNet(ModnetSpec.full())
        if backbone is not None:
            weights = fetch(store, backbone, settings.cache_folder / "objects")
            start_from_backbone(network, weights, *open_dataset(dataset_id, settings, store), config, seed)
        report = _trained(network, dataset_id, config, seed, gpus, folder, settings, store)
        origin = f"trained in this project on data set {dataset_id}, {config.epochs} epochs"
        return _stored_base(network, base_id, dataset_id, origin, report, store)

    record = once(store, base_key(base_id), BaseRecord, compute)
    _forget_state(folder, store)
    return record


def import_backbone(path: Path) -> StoredFile:
    """Puts a backbone's weights into the store, under their digest.

    Raises:
        CheckpointError: there is no such file.
    """
    _, store = this_node(cpus=1)
    try:
        return upload(store, "backbones/backbone.npz", path)
    except OSError as error:
        raise CheckpointError(f"cannot read the backbone weights {path}: {error.strerror}") from error


def import_base(dataset_id: str, checkpoint: Path) -> BaseRecord:
    """Puts a given checkpoint, of any layout that `modnet.checkpoint` reads, into the store."""
    _, store = this_node(cpus=1)
    network = load(checkpoint)
    is_ours = checkpoint in (SHIPPED_BASE, SHIPPED_SMALL)
    origin = "shipped with the project" if is_ours else f"given as {checkpoint.name}"
    weights = hashlib.sha256(to_bytes(network, {})).hexdigest()  # not the file's digest: layouts differ, weights do not
    base_id = identify(dataset=dataset_id, weights=weights, version=STAGE_VERSIONS["base"])

    def compute() -> BaseRecord:
        return _stored_base(network, base_id, dataset_id, origin, None, store)

    return once(store, base_key(base_id), BaseRecord, compute)


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
    settings, store = this_node(cpus)
    checkpoint, dataset_id = stored_network(store, parent_id)

    def compute() -> Candidate:
        network = load(fetch(store, checkpoint, settings.cache_folder / "objects"))
        plan = plan_with_evidence(network, pruning, lambda: open_dataset(dataset_id, settings, store), threads=cpus)
        compact = apply_plan(network, plan)
        store.put(f"candidates/{candidate_id}/plan.json", plan.to_json().encode())
        provenance = {
            "parent": checkpoint.sha256,
            "parent_spec": network.spec.model_dump(),
            "pruning": pruning.model_dump(),
        }
        return Candidate(
            candidate_id=candidate_id,
            base_id=base_id or root_id(store, parent_id),
            parent_id=parent_id,
            dataset_id=dataset_id,
            pruning=pruning,
            retrain=training,
            seed=seed,
            pruned=put_file(store, f"candidates/{candidate_id}/pruned.safetensors", to_bytes(compact, provenance)),
            complexity=complexity(compact),
            remarks=plan.remarks,
        )

    return once(store, candidate_key(candidate_id), Candidate, compute)


def retrain_candidate(candidate_id: str, cpus: int, gpus: float) -> RetrainReport:
    """Retrains a pruned candidate on the `fit` split of its data set."""
    settings, store = this_node(cpus)
    candidate = get_record(store, candidate_key(candidate_id), Candidate)
    folder = f"candidates/{candidate_id}"

    def compute() -> RetrainReport:
        checkpoint = read_checkpoint(fetch(store, candidate.pruned, settings.cache_folder / "objects"))
        network = checkpoint.network
        if candidate.retrain.initialise == "scratch":
            torch.manual_seed(candidate.seed)
            network = MODNet(network.spec)
        teacher = None
        if candidate.retrain.distillation is not None:
            unpruned = get_record(store, base_key(candidate.base_id), BaseRecord).checkpoint
            teacher = load(fetch(store, unpruned, settings.cache_folder / "objects"))
        report = _trained(
            network, candidate.dataset_id, candidate.retrain, candidate.seed, gpus, folder, settings, store, teacher
        )
        provenance = {
            **checkpoint.provenance,
            "dataset": candidate.dataset_id,
            "retrain": candidate.retrain.model_dump(),
            "seed": candidate.seed,
        }
        file = put_file(store, f"{folder}/retrained.safetensors", to_bytes(network, provenance))
        return RetrainReport(candidate_id=candidate_id, checkpoint=file, training=report)

    record = once(store, retrained_key(candidate_id), RetrainReport, compute)
    _forget_state(folder, store)
    return record


def take_step(
    parent_id: str, step: IterationStep, seed: int, candidate_id: str, cpus: int, gpus: float
) -> RetrainReport:
    """Prunes and retrains once on the way to what was asked; what is done of it already is not done again."""
    prune_network(parent_id, step.pruning, step.retrain, seed, candidate_id, cpus)
    return retrain_candidate(candidate_id, cpus, gpus)


def score_network(network_id: str, key: str, cpus: int) -> NetworkScores:
    """Scores a base or a retrained candidate on `tune`, which choices read, and on `val`, which only reports.

    Args:
        key: where the scores are put (`scores_key`).
    """
    settings, store = this_node(cpus)
    checkpoint, dataset_id = stored_network(store, network_id)

    def compute() -> NetworkScores:
        began = time.monotonic()
        network = load(fetch(store, checkpoint, settings.cache_folder / "objects"))
        folder, index = open_dataset(dataset_id, settings, store)
        predictor = TorchPredictor(network, "modelcompression")
        return NetworkScores(
            network_id=network_id,
            tune=evaluate(predictor, folder, index, "tune", "modelcompression"),
            val=evaluate(predictor, folder, index, "val", "modelcompression", ALL_METRICS),
            complexity=complexity(network),
            size_bytes=checkpoint.size_bytes,
            seconds=time.monotonic() - began,
        )

    return once(store, key, NetworkScores, compute)


def draw_mattes(base_id: str, candidate_id: str, key: str, cpus: int) -> StoredFile:
    """A sheet of the first val images: image, true matte, the unpruned network's matte and the candidate's.

    Args:
        key: where its StoredFile is put (`mattes_key`); the picture lies beside it.
    """
    settings, store = this_node(cpus)

    def compute() -> StoredFile:
        predictors = []
        for network_id in (base_id, candidate_id):
            checkpoint, dataset_id = stored_network(store, network_id)
            predictors.append(
                TorchPredictor(load(fetch(store, checkpoint, settings.cache_folder / "objects")), "modelcompression")
            )
        folder, index = open_dataset(dataset_id, settings, store)
        rows = []
        for pair in index.split("val")[:SHOWN_MATTES]:
            image, alpha = read_pair(folder / pair.image, folder / pair.matte)
            rows.append(MatteRow(pair.stem, image, (alpha, *(predictor(image) for predictor in predictors))))
        sheet = matte_sheet(rows, ("true matte", "unpruned", "pruned"))
        return put_file(store, key.replace(".json", ".png"), sheet)

    return once(store, key, StoredFile, compute)


def this_node(cpus: int) -> tuple[Settings, ObjectStore]:
    """This node's settings and store; torch uses the CPUs that were asked of Ray."""
    torch.set_num_threads(cpus)
    settings = Settings.from_env()
    return settings, open_store(settings.store_url)


def _trained(
    network: MODNet,
    dataset_id: str,
    config: TrainingConfig,
    seed: int,
    gpus: float,
    folder: str,
    settings: Settings,
    store: ObjectStore,
    teacher: MODNet | None = None,
) -> TrainingReport:
    """Trains `network`, from where an earlier, killed run left off; state and progress stay in the store."""
    device = _training_device(gpus)
    images, index = open_dataset(dataset_id, settings, store)
    try:
        saved = store.get(state_key(folder))
    except NotStoredError:
        saved = None

    def save(state: TrainingState) -> None:
        store.put(state_key(folder), state.to_bytes())

    report = run_training(
        network,
        images,
        index,
        config,
        seed=seed,
        device=device,
        save=save,
        tell=lambda progress: put_record(store, progress_key(folder), progress),
        saved=saved,
        saved_in=f"{store.url}/{state_key(folder)}",
        teacher=teacher,
    )
    store.put(f"{folder}/training.jsonl", "".join(f"{one.model_dump_json()}\n" for one in report.history).encode())
    store.put(f"{folder}/training.png", training_plot(report.history, folder))
    if report.scales:
        store.put(f"{folder}/scales.png", gamma_plot(report.scales, f"sparse training of {folder}"))
    return report


def _training_device(gpus: float) -> str:
    """The CPU unless a GPU is reserved: Ray shows all of a node's GPUs to a task that reserves none.

    Raises:
        ResourcesUnavailableError: one is reserved, and torch cannot use it.
    """
    if not gpus:
        return "cpu"
    if not torch.cuda.is_available():
        raise ResourcesUnavailableError(
            f"training on {platform.node()}: training_gpus reserves {gpus:g} of a GPU, but torch {torch.__version__} "
            "sees none; install its CUDA build, or train with training_gpus 0"
        )
    return "cuda"


def _forget_state(folder: str, store: ObjectStore) -> None:
    """Removes what a finished training left for a next try; until its record is written, nothing else is left of it."""
    for key in (state_key(folder), progress_key(folder)):
        store.delete(key)


def _stored_base(
    network: MODNet, base_id: str, dataset_id: str, origin: str, training: TrainingReport | None, store: ObjectStore
) -> BaseRecord:
    content = to_bytes(network, {"origin": origin})
    return BaseRecord(
        base_id=base_id,
        dataset_id=dataset_id,
        checkpoint=put_file(store, f"bases/{base_id}/base.safetensors", content),
        complexity=complexity(network),
        origin=origin,
        training=training,
    )
