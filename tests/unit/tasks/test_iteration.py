"""Two iterative steps with a store and with local files: to the budget, resumed where they were cut, done once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from infra.device.stores.folder_store import FolderStore
from infra.settings import Settings
from modnet.checkpoint import save_checkpoint
from modnet.configs import (
    BudgetPolicy,
    DatasetConfig,
    IterationConfig,
    PruningConfig,
    RetrainConfig,
    SparsityConfig,
    SyntheticConfig,
)
from modnet.data.archives import extract_archive
from modnet.pruning.complexity import complexity
from modnet.pruning.iteration import iteration_steps
from modnet.pruning.plan import PruningPlan
from modnet.records import BaseRecord, Candidate, RetrainReport
from modnet.workloads.matting.checkpoint import load, read_checkpoint
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.portraits import Portraits
from modnet.workloads.matting.workload import MATTING
from tasks import local_iteration, training_run
from tasks.local_iteration import prune_iteratively
from tasks.remote import bases, candidates
from tasks.remote.node import answered
from tasks.stored import get_record
from tasks.stored_dataset import publish_dataset
from tasks.stored_network import candidate_key, pruned_id, retrained_key, root_id

MAX_MACS = 300_000_000  # of 761 million
RETRAIN = RetrainConfig(epochs=2, batch_size=2, image_size=64, precision="fp32", sparsity=SparsityConfig(strength=1e-2))
CONFIG = IterationConfig(
    steps=2,
    pruning=PruningConfig(
        policy=BudgetPolicy(max_macs=MAX_MACS), criterion="bn_scale", channel_multiple=1, min_channels=2
    ),
    retrain=RETRAIN,
    intermediate_epochs=1,
)


class KilledError(Exception):
    """What ends a run where a test wants it to end."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return save_checkpoint(MODNet(ModnetSpec.tiny()), tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors", {})


@pytest.fixture
def base(tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[FolderStore, BaseRecord]:
    """A tiny network and six portraits in a store that this process's settings lead to."""
    monkeypatch.setenv("MODNET_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MODNET_CACHE", str(tmp_path / "cache"))
    store = FolderStore(tmp_path / "store")
    portraits = DatasetConfig(synthetic=SyntheticConfig(train=6, val=1, height=96, width=80))
    dataset = publish_dataset(portraits, Settings.from_env(), store)
    return store, bases.import_base(dataset.dataset_id, str(checkpoint))


def iterate(store: FolderStore, base: BaseRecord, steps: int = 2) -> list[RetrainReport]:
    """What the flow does, up to a step."""
    reports: list[RetrainReport] = []
    for step in iteration_steps(CONFIG, base.complexity)[:steps]:
        parent_id = reports[-1].candidate_id if reports else base.base_id
        candidate_id = pruned_id(store, parent_id, step.pruning, step.retrain, 0)
        args = (parent_id, step, 0, candidate_id)
        key = retrained_key(candidate_id)
        reports.append(answered(key, RetrainReport, candidates.take_step, args, cpus=1, gpus=0))
    return reports


def test_take_step_arrives_at_the_budget_and_remembers_parent_and_base(base: tuple[FolderStore, BaseRecord]) -> None:
    store, record = base
    names = [report.candidate_id for report in iterate(store, record)]
    first, second = (get_record(store, candidate_key(name), Candidate) for name in names)
    assert (first.parent_id, second.parent_id) == (record.base_id, first.candidate_id)
    assert first.base_id == second.base_id == root_id(store, names[1]) == record.base_id
    assert second.complexity.macs <= MAX_MACS < first.complexity.macs < record.complexity.macs
    assert (first.retrain["epochs"], second.retrain["epochs"]) == (1, 2)
    plan = PruningPlan.from_json(store.get(f"candidates/{names[1]}/plan.json"))
    assert plan.macs == second.complexity.macs
    assert store.get(f"candidates/{names[0]}/scales.png").startswith(b"\x89PNG")


def test_take_step_does_no_work_twice_and_goes_on_after_the_step_that_was_done(
    base: tuple[FolderStore, BaseRecord],
) -> None:
    store, record = base
    (first,) = iterate(store, record, steps=1)  # a run that was killed between its steps
    written = {key: store.get_with_etag(key)[1] for key in store.list("candidates/")}
    whole = iterate(store, record)
    assert whole[0] == first
    assert {key: store.get_with_etag(key)[1] for key in written} == written

    keys = {key: store.get_with_etag(key)[1] for key in store.list("")}
    assert iterate(store, record) == whole
    assert {key: store.get_with_etag(key)[1] for key in store.list("")} == keys


def test_prune_network_gives_a_retrained_candidate_another_name_when_its_parent_differs(
    base: tuple[FolderStore, BaseRecord],
) -> None:
    store, record = base
    (first,) = iterate(store, record, steps=1)
    questions = [(parent_id, CONFIG.pruning, RETRAIN, 0) for parent_id in (record.base_id, first.candidate_id)]
    ids = [pruned_id(store, *one) for one in questions]
    of_base, of_first = (
        answered(candidate_key(name), Candidate, candidates.prune_network, (*one, name), cpus=1)
        for one, name in zip(questions, ids, strict=True)
    )
    assert of_base.candidate_id != of_first.candidate_id
    assert of_base.base_id == of_first.base_id


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> Portraits:
    drawn = tmp_path_factory.mktemp("portraits")
    archive = write_synthetic_archive(drawn / "portraits.zip", train=6, val=1, size=(96, 80), seed=0)
    return Portraits(extract_archive(archive, drawn / "extracted"))


@pytest.fixture(scope="module")
def whole(checkpoint: Path, portraits: Portraits, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What a run wrote that nothing disturbed."""
    return prune_iteratively(checkpoint, load(checkpoint), MATTING, portraits, CONFIG, tmp_path_factory.mktemp("whole"))


def modified(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_prune_iteratively_reaches_the_budget_and_does_no_work_twice(
    checkpoint: Path, portraits: Portraits, whole: list[Path]
) -> None:
    assert [complexity(load(path)).macs <= MAX_MACS for path in whole] == [False, True]
    assert {path.name for path in whole[0].parent.iterdir()} == {
        "plan.json",
        "pruned.safetensors",
        "training.json",
        "training.png",
        "scales.png",
        "retrained.safetensors",
    }
    assert read_checkpoint(whole[1]).provenance["seed"] == 0

    out = whole[0].parents[1]
    files = modified(out)
    assert prune_iteratively(checkpoint, load(checkpoint), MATTING, portraits, CONFIG, out) == whole
    assert modified(out) == files


@pytest.mark.parametrize("killed_after", [1, 3, 5], ids=lambda saves: f"save {saves}")
def test_prune_iteratively_gives_the_same_network_when_killed_and_started_again(
    checkpoint: Path,
    portraits: Portraits,
    whole: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    killed_after: int,
) -> None:
    """The run dies when its n-th training state is on disk: of the first step, or of the second."""
    write, states = local_iteration.write_atomically, []

    def killing(path: Path, content: bytes) -> None:
        write(path, content)
        states.extend([path] if path.name == "training-state.pt" else [])
        if len(states) == killed_after:
            raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(local_iteration, "write_atomically", killing)
        patched.setattr(training_run, "SAVE_STATE_EVERY_S", 0.0)
        with pytest.raises(KilledError):
            prune_iteratively(checkpoint, load(checkpoint), MATTING, portraits, CONFIG, tmp_path / "cut")
    paths = prune_iteratively(checkpoint, load(checkpoint), MATTING, portraits, CONFIG, tmp_path / "cut")
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in whole]
    assert not list((tmp_path / "cut").rglob("training-state.pt"))
