"""A search on a real Prefect server and a real local Ray: two nights, a killed one, and hours that are over at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.testing.utilities import prefect_test_harness

from benchmarks.tiny import tiny_run
from flows.compress import compress
from flows.prepare_dataset import prepare_dataset
from flows.search import search
from flows.train_baseline import train_baseline
from infra import ray_pool
from infra.device.errors import ConflictError
from infra.device.releases import read_current
from infra.device.stores.folder_store import FolderStore
from modnet.configs import ExportConfig, WinnerLimits
from modnet.configs.search import Range, SearchConfig, SearchSpace
from modnet.records import Decision, Night, Record, SearchEvent, Trial
from modnet.workloads.matting.settings import MattingRetraining
from tasks.stored import put_record
from tests.signing import keys, trust_of

pytestmark = pytest.mark.slow

CANDIDATES, EPOCHS = 6, 4
SEARCH = SearchConfig(
    hours=1,
    candidates=CANDIDATES,
    space=SearchSpace(
        gmacs=Range(least=0.06, most=0.12), criteria=("l1", "random"), multiples=(2,), batch_only=(False,)
    ),
    first_epochs=1,
    reduction=2,
)
RETRAIN = MattingRetraining(epochs=EPOCHS, image_size=64, batch_size=2, precision="fp32")
EXPORT = ExportConfig(input_shape="128x96", calibration_images=2, max_output_difference=0.02)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FolderStore]:
    folder = tmp_path_factory.mktemp("search")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MODNET_STORE", (folder / "store").as_uri())
        environment.setenv("MODNET_CACHE", str(folder / "cache"))
        ray_pool.shutdown()
        with prefect_test_harness(server_startup_timeout=120):
            yield FolderStore(folder / "store")
        ray_pool.shutdown()


@pytest.fixture(scope="module")
def base_id(store: FolderStore, tmp_path_factory: pytest.TempPathFactory) -> str:
    config = tiny_run(tmp_path_factory.mktemp("base"))
    dataset = prepare_dataset(config.dataset)
    base_id: str = train_baseline(dataset.dataset_id, config.base, 0, config.compute).base_id
    return base_id


def events(store: FolderStore) -> dict[str, SearchEvent]:
    return {key: SearchEvent.model_validate_json(store.get(key)) for key in store.list("searches/")}


def trials(store: FolderStore) -> list[Trial]:
    return [Trial.model_validate_json(store.get(key)) for key in store.list("trials/")]


def trained(store: FolderStore) -> dict[str, str]:
    keys = [key for key in store.list("candidates/") if key.endswith("retrained.json") or "/rung-" in key]
    return {key: store.get_with_etag(key)[1] for key in keys}


def run(base_id: str, **changes: object) -> tuple[str, ...]:
    finalists: tuple[str, ...] = search(base_id, SEARCH.model_copy(update=changes), RETRAIN, EXPORT).finalists
    return finalists


def test_what_is_under_way_when_the_hours_are_over_goes_on_the_next_night(store: FolderStore, base_id: str) -> None:
    assert run(base_id, hours=1 / 3600) == ()
    kinds = Counter(event.kind for event in events(store).values())
    assert kinds["began"] == kinds["ended"] == 1
    assert kinds["started"] == kinds["paused"] > 0
    assert {trial.status for trial in trials(store)} == {"waiting"}
    asked = {event.candidate_id for event in events(store).values() if event.kind == "started"}

    finalists = run(base_id)
    assert finalists
    found = trials(store)
    assert {trial.candidate_id for trial in found} > asked
    assert len(found) == CANDIDATES
    by_status = Counter(trial.status for trial in found)
    assert by_status["trained"] >= 1
    assert by_status["stopped"] >= 2
    assert by_status["trained"] + by_status["stopped"] == CANDIDATES
    for trial in found:
        assert trial.latency_ratio is not None
        assert trial.reason == "" if trial.status == "trained" else "best" in trial.reason
    nights = [Night.model_validate_json(store.get(key)) for key in store.list("nights/")]
    assert [night.ended_at is not None for night in nights] == [True, True]
    assert nights[0].hypervolume == nights[1].hypervolume_before == 0
    assert {point.candidate_id for point in nights[1].front} >= set(finalists)


def test_a_night_that_finds_nothing_new_computes_nothing(store: FolderStore, base_id: str) -> None:
    before, finalists = trained(store), run(base_id)
    assert trained(store) == before
    assert finalists == run(base_id)


def test_a_killed_night_goes_on_with_its_hours_and_trains_nobody_twice(store: FolderStore, base_id: str) -> None:
    finalists, whole, before = run(base_id), events(store), trained(store)
    began = [key for key, event in whole.items() if event.kind == "began"]
    cut = [key for key in whole if key > began[1]][5:]  # in the middle of the second night
    for key in cut:
        store.delete(key)
    last = list(events(store).values())[-1]
    assert last.kind != "ended"

    assert run(base_id) == finalists
    after = events(store)
    assert trained(store) == before
    assert [event.kind for event in after.values()].count("began") == 2
    of_night = [event for event in after.values() if event.night_id == last.night_id]
    spent = [event.spent_s for event in of_night]
    assert spent == sorted(spent)
    assert {event.candidate_id for event in after.values()} == {event.candidate_id for event in whole.values()}


def test_a_night_that_is_under_way_elsewhere_is_left_alone(
    store: FolderStore, base_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.delete(list(events(store))[-1])  # its end
    before = events(store)
    with monkeypatch.context() as patched:
        patched.setattr("tasks.search_night.is_running", lambda _: True)
        with pytest.raises(ConflictError, match="is under way in flow run"):
            run(base_id)
    assert events(store) == before
    assert run(base_id)


def test_an_answer_that_was_lost_is_no_conflict(
    store: FolderStore, base_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = []

    def put_and_lose(store: FolderStore, key: str, record: Record, **how: bool) -> None:
        put_record(store, key, record, **how)
        if key.startswith("searches/"):
            lost.append(key)
            raise ConflictError("it is there already")

    monkeypatch.setattr("tasks.search_night.put_record", put_and_lose)
    assert run(base_id)
    assert lost


def test_a_limit_that_no_candidate_meets_trains_nobody_and_says_why(store: FolderStore, base_id: str) -> None:
    before = trained(store)
    run(base_id, max_ms=1e-6, candidates=2)
    refused = [event for event in events(store).values() if event.kind == "refused"]
    assert len(refused) == 2
    assert "allowed 1e-06" in refused[0].reason
    assert trained(store) == before


def test_a_night_that_searches_puts_its_finalists_on_trial_and_leaves_a_history(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODNET_KEYS", str(keys().folder))
    config = tiny_run(
        tmp_path, search=SEARCH, retrain=RETRAIN, winner_limits=WinnerLimits(max_error_ratio=4.0), pruning=()
    )
    export = config.export.model_copy(update={"input_shape": "128x96"})
    compress(config.model_copy(update={"export": export}))
    night = [Night.model_validate_json(store.get(key)) for key in store.list("nights/")][-1]
    assert night.page is not None
    assert store.exists(night.page)
    assert night.front
    current = read_current(trust_of(store), "cpu-fp32").release_id
    decisions = [Decision.model_validate_json(store.get(key)) for key in store.list("decisions/")]
    assert [(one.kind, one.after) for one in decisions] == [("first", current)]
    page = store.get("history/history.html").decode()
    assert night.front[0].candidate_id in page

    compress(config.model_copy(update={"export": export}))  # the second night finds nothing new
    assert read_current(trust_of(store), "cpu-fp32").release_id == current
