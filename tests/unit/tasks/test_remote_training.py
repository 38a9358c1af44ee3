"""Trainings on a node: a failed upload costs no training, and a GPU is used when it is reserved."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from prefect.logging import disable_run_logger

from infra.cache import bound
from infra.device.errors import StoreUnavailableError
from infra.device.stores.folder_store import FolderStore
from infra.errors import OutOfMemoryError, ResourcesUnavailableError, StoreGoneError
from infra.patience import patient
from infra.settings import Settings
from modnet.checkpoint import save_checkpoint
from modnet.configs import ComputeConfig, DatasetConfig, PruningConfig, RetrainConfig, SyntheticConfig
from modnet.pruning.iteration import IterationStep
from modnet.records import BaseRecord, Candidate, Record, RetrainReport
from modnet.training.state import step_of
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from tasks import iterate, on_ray, prune, retrain, stored, training_run, training_state
from tasks.configs.baseline import BaselineConfig
from tasks.remote import bases, candidates
from tasks.remote.node import answered
from tasks.stored_dataset import publish_dataset
from tasks.stored_network import base_key, candidate_key, pruned_id, retrained_key, state_key, trained_base_id
from tasks.timeline import Timeline

TRAINING = RetrainConfig(epochs=1, batch_size=2, image_size=64, precision="fp32")
PRUNING = PruningConfig(channel_multiple=2, min_channels=2)
Train = Callable[[float], Record]


class UnsteadyStore(FolderStore):
    """A folder that remembers what is written, and answers no put of a key that ends with one of `away`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.puts: list[str] = []
        self.away: tuple[str, ...] = ()

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        if key.endswith(self.away):
            raise StoreUnavailableError(f"{key}: gone for a moment")
        self.puts.append(key)
        return super().put(key, data, if_absent=if_absent, if_match=if_match)


@pytest.fixture
def ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str, str]:
    """A data set, a base and a pruned candidate of it in a store; networks are tiny."""
    monkeypatch.setenv("MODNET_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MODNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ModnetSpec, "full", ModnetSpec.tiny)
    portraits = DatasetConfig(synthetic=SyntheticConfig(train=7, val=1, height=96, width=80))
    store = FolderStore(tmp_path / "store")
    dataset = publish_dataset(portraits, Settings.from_env(), store)
    checkpoint = save_checkpoint(MODNet(ModnetSpec.tiny()), tmp_path / "tiny.safetensors", {})
    base = bases.import_base(dataset.dataset_id, str(checkpoint))
    question = (base.base_id, PRUNING, TRAINING, 0)
    candidate_id = pruned_id(store, *question)
    args = (*question, candidate_id)
    answered(candidate_key(candidate_id), Candidate, candidates.prune_network, args, cpus=1)
    return dataset.dataset_id, base.base_id, candidate_id


@pytest.fixture(params=["base", "candidate"])
def train(ids: tuple[str, str, str], request: pytest.FixtureRequest) -> Train:
    dataset_id, _, candidate_id = ids
    if request.param == "base":
        question = (dataset_id, TRAINING, 0, None)
        base_id = trained_base_id(*question)
        return lambda gpus: answered(
            base_key(base_id), BaseRecord, bases.train_base, (*question, base_id), cpus=1, gpus=gpus, store_wait_s=0
        )
    key = retrained_key(candidate_id)
    return lambda gpus: answered(
        key, RetrainReport, candidates.retrain_candidate, [candidate_id], cpus=1, gpus=gpus, store_wait_s=0
    )


@pytest.mark.parametrize("away", [(".safetensors",), ("",)], ids=["the upload alone", "the whole training"])
def test_a_training_goes_on_without_the_store_and_is_kept_on_its_node(
    away: tuple[str, ...],
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = UnsteadyStore(tmp_path / "store")
    for module in (stored, training_state):
        monkeypatch.setattr(module, "open_store", lambda _: store)
    monkeypatch.setattr(training_run, "SAVE_STATE_EVERY_S", 3600.0)  # the end of an epoch saves it as well
    store.away = away
    with pytest.raises(StoreGoneError, match="did not answer for 0 s, of 0 s that a run waits"):
        train(0)
    assert [path.name for path in (tmp_path / "cache" / "trainings").rglob("*") if path.is_file()] == ["state"]

    store.away, store.puts = (), []
    record = train(0)
    assert not [key for key in store.puts if key.endswith("training-state-2.pt")]  # not a step was taken again
    assert all(store.exists(file.key) for file in record.stored_files())
    assert not [key for key in store.list("") if key.endswith(("training-state-2.pt", "progress.json"))]
    assert not list((tmp_path / "cache" / "trainings").rglob("state"))


def test_a_training_goes_on_from_the_later_of_both_states_and_not_from_a_damaged_one(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = UnsteadyStore(tmp_path / "store")
    for module in (stored, training_state):
        monkeypatch.setattr(module, "open_store", lambda _: store)
    monkeypatch.setattr(training_run, "SAVE_STATE_EVERY_S", 0.0)
    store.away = (".safetensors",)
    with pytest.raises(StoreGoneError):
        train(0)
    (local,) = (tmp_path / "cache" / "trainings").rglob("state")
    local.write_bytes(local.read_bytes()[:1000])
    store.away, store.puts = (), []
    train(0)
    assert not [key for key in store.puts if key.endswith("training-state-2.pt")]  # the store had the last one too
    assert f"{local} is damaged" in caplog.text


def test_a_training_stays_on_the_cpu_when_no_gpu_is_reserved(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray shows a task all GPUs of its node when it reserves none."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert train(0).training.steps > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch sees a GPU here")
def test_a_training_refuses_when_torch_does_not_see_the_gpu_that_is_reserved(train: Train) -> None:
    with pytest.raises(
        ResourcesUnavailableError, match=r"training_gpus reserves 0\.5 of a GPU, but torch .* sees none"
    ):
        train(0.5)


class AskedError(Exception):
    """What a fake Ray answers."""


@pytest.mark.parametrize("what", ["base", "candidate", "step"])
def test_every_training_reserves_its_share_of_a_gpu_and_of_memory(
    what: str, ids: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_id, base_id, candidate_id = ids
    compute = ComputeConfig(training_gpus=0.25, training_memory_gb=3, cluster_scales=True)
    asked: list[object] = []

    def fake_ray(*arguments: object, gpus: float, memory_gb: float, scales: bool, **_: object) -> None:
        asked.extend([gpus, arguments[-3], memory_gb, scales])
        raise AskedError

    monkeypatch.setattr("tasks.on_ray.run_on_ray", fake_ray)
    monkeypatch.setattr(on_ray, "shown_training", lambda *_: nullcontext())
    monkeypatch.setattr(on_ray, "this_timeline", lambda: Timeline(lambda _: None))
    step = IterationStep(number=1, pruning=PRUNING, retrain=TRAINING)
    trainings = {
        "base": lambda: prune.put_base.fn(dataset_id, BaselineConfig(checkpoint=None), 0, compute),
        "candidate": lambda: retrain.retrain_candidate.fn(candidate_id, compute),
        "step": lambda: iterate.take_step.fn(base_id, step, 0, compute),
    }
    with disable_run_logger(), pytest.raises(AskedError):
        trainings[what]()
    assert asked == [0.25, 0.25, 3, True]


@pytest.mark.parametrize("times", [1, 2])
def test_a_training_that_is_killed_for_memory_is_tried_once_more_in_parts(
    times: int, ids: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def small_ray(function: Callable[..., RetrainReport], *arguments: object, **_: object) -> RetrainReport:
        asked.append(arguments[-1])
        if len(asked) <= times:
            raise OutOfMemoryError("killed")
        return function(*arguments)

    monkeypatch.setattr("tasks.on_ray.run_on_ray", small_ray)
    monkeypatch.setattr(on_ray, "shown_training", lambda *_: nullcontext())
    monkeypatch.setattr(on_ray, "this_timeline", lambda: Timeline(lambda _: None))
    with disable_run_logger():
        if times == 1:
            report = retrain.retrain_candidate.fn(ids[2], ComputeConfig())
            assert (report.training.batch_parts, report.training.images_seen) == (2, 3)
        else:
            with pytest.raises(ResourcesUnavailableError, match="killed; also with each batch in parts"):
                retrain.retrain_candidate.fn(ids[2], ComputeConfig())
    assert asked == [1, 2]


def test_a_training_says_that_its_gpu_is_too_small(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr("tasks.remote.training.run_training", run_out)
    with pytest.raises(OutOfMemoryError, match="its GPU is too small: CUDA out of memory"):
        train(0)


def test_a_state_in_the_store_is_waited_for_and_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODNET_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MODNET_CACHE", str(tmp_path / "cache"))
    store, saved = FolderStore(tmp_path / "store"), io.BytesIO()
    torch.save({"step": 900}, saved)
    store.put(state_key("candidates/a"), saved.getvalue())
    answers, get = [StoreUnavailableError("gone for a moment")], store.get

    def get_later(key: str, *, max_bytes: int | None = None) -> bytes:
        if answers:
            raise answers.pop()
        return get(key, max_bytes=max_bytes)

    monkeypatch.setattr(store, "get", get_later)
    state = training_state.StateOfTraining(Settings.from_env(), "candidates/a")
    found = state.read(patient(store, store.url, 60, sleep=lambda _: None))
    assert found is not None
    assert step_of(found[0]) == 900


def test_a_state_on_this_disk_is_held_while_its_training_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODNET_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MODNET_CACHE", str(tmp_path / "cache"))
    cache = tmp_path / "cache"
    left = cache / "trainings" / "candidates" / "b"
    left.mkdir(parents=True)
    (left / "state").write_bytes(b"of a run that nobody went on with")
    state = training_state.StateOfTraining(Settings.from_env(), "candidates/a")
    state.save(SimpleNamespace(to_bytes=lambda: b"state"))  # type: ignore[arg-type]  # all that is asked of it
    for folder in (left, left.with_name("a")):
        os.utime(folder, (0, 0))
    assert bound(cache, max_bytes=0) == [left]
    assert (left.with_name("a") / "state").read_bytes() == b"state"
    state.forget()
    assert not left.with_name("a").exists()


def test_a_disk_that_takes_no_state_costs_a_training_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODNET_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MODNET_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "trainings").mkdir(parents=True)
    (tmp_path / "cache" / "trainings" / "candidates").write_text("a file where a folder should be")
    state = training_state.StateOfTraining(Settings.from_env(), "candidates/a")
    state.save(SimpleNamespace(to_bytes=lambda: b"state"))  # type: ignore[arg-type]  # all that is asked of it
    assert FolderStore(tmp_path / "store").get(state_key("candidates/a")) == b"state"
