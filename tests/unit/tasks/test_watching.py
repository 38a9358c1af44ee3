"""Watching never ends work: a Prefect server or a store that is away is a line in the log."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from infra.device.errors import StoreUnavailableError
from infra.device.stores.folder_store import FolderStore
from modnet.configs import TrainingConfig
from modnet.records import TrainingProgress
from tasks import artifacts, training_progress, training_run
from tasks.stored import put_record
from tasks.stored_network import progress_key
from tasks.training_progress import shown_training


@pytest.fixture
def no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Prefect's own client, and nobody who listens where its server was."""
    monkeypatch.setenv("MODNET_STORE", (tmp_path / "store").as_uri())
    for module in (training_progress, artifacts):
        monkeypatch.setattr(module, "get_run_logger", lambda: logging.getLogger("run"))
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api", PREFECT_CLIENT_MAX_RETRIES: 0}):
        yield


def test_a_training_ends_well_without_a_server_that_shows_it(
    no_server: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(training_progress, "REFRESH_EVERY_S", 0.01)
    with caplog.at_level(logging.WARNING, "run"), shown_training("candidates/a", "retrain-a", "Retraining of a"):
        deadline = time.monotonic() + 30
        while not caplog.records and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.2)  # it has failed many times by now
    (line,) = [record.getMessage() for record in caplog.records if record.name == "run"]
    assert line.startswith("progress of candidates/a cannot be shown, the work goes on: ")


def test_a_training_is_not_held_up_by_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_progress, "_LAST_LOOK_WITHIN_S", 0.05)
    answer = threading.Event()
    monkeypatch.setattr(training_progress, "create_progress_artifact", lambda **_: answer.wait(60))
    monkeypatch.setattr(training_progress, "update_progress_artifact", lambda *_, **__: None)
    began = time.monotonic()
    with shown_training("candidates/a", "retrain-a", "Retraining of a"):
        (watch,) = (thread for thread in threading.enumerate() if thread.name == "watch retrain-a")
    assert time.monotonic() - began < 20
    answer.set()
    watch.join(20)  # it ends before the patches do
    assert not watch.is_alive()


def test_a_watched_training_fails_by_its_own_error(no_server: None) -> None:
    with pytest.raises(StoreUnavailableError, match="its own"), shown_training("a", "a", "A"):
        raise StoreUnavailableError("its own")


def test_the_bar_shows_what_the_training_has_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[float, str]] = []
    monkeypatch.setenv("MODNET_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setattr(training_progress, "REFRESH_EVERY_S", 0.01)
    monkeypatch.setattr(training_progress, "create_progress_artifact", lambda **_: "id")
    monkeypatch.setattr(
        training_progress,
        "update_progress_artifact",
        lambda _, *, progress, description: shown.append((progress, description)),
    )
    told = TrainingProgress(step=1, steps=4, text="epoch 1 of 2, loss 0.300")
    put_record(FolderStore(tmp_path / "store"), progress_key("candidates/a"), told)
    with shown_training("candidates/a", "retrain-a", "Retraining"):
        deadline = time.monotonic() + 30
        while not shown and time.monotonic() < deadline:
            time.sleep(0.01)
    assert shown[0] == (25.0, "Retraining: epoch 1 of 2, loss 0.300")
    assert shown[-1] == (100.0, "Retraining")


def test_an_artifact_that_nobody_takes_is_a_warning(no_server: None, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "run"):
        artifacts.create_table_artifact([{"a": "b"}], key="leaderboard", description="of a run")
        artifacts.create_image_artifact("http://nowhere/a.png", key="pareto", description="of a run")
        artifacts.create_link_artifact("http://nowhere/a", key="report", link_text="a", description="of a run")
    said = [record.getMessage() for record in caplog.records if record.name == "run"]
    for key, line in zip(("leaderboard", "pareto", "report"), said, strict=True):
        assert line.startswith(f"artifact {key} cannot be shown, the work goes on: ")


def test_a_store_that_is_away_is_told_nothing_and_ends_no_training(caplog: pytest.LogCaptureFixture) -> None:
    class State:
        history, step_losses, step, total_steps = (), [{"alpha": 0.25, "detail": 0.5}], 1, 4

    told: list[TrainingProgress] = []

    def tell(progress: TrainingProgress) -> None:
        told.append(progress)
        raise StoreUnavailableError("no answer")

    tell_of = training_run._Told(tell, TrainingConfig(epochs=2), "MSE")
    for _ in range(2):
        tell_of._at = 0.0
        tell_of(State())  # type: ignore[arg-type]
    assert told == [TrainingProgress(step=1, steps=4, text="epoch 1 of 2, loss 0.750")] * 2
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == "progress cannot be told, the training goes on: StoreUnavailableError: no answer"
