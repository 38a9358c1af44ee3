"""What an agent does about releases on trial: it measures them beside what it runs, and runs none of them."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.device.agent.agent import Agent, Outcome
from infra.device.documents.latency_report import LatencyReport
from infra.device.documents.manifest import release_file_key
from infra.device.documents.pointer import Pointer
from infra.device.documents.trials import trials_path
from infra.device.errors import StoreUnavailableError
from infra.device.measuring.request import MeasureSettings
from infra.device.releases import current_for
from infra.device.reports import read_reports
from infra.device.stores.folder_store import FolderStore
from infra.publishing.pointers import pin
from infra.publishing.releases import promote
from infra.publishing.trials import publish_trials
from tests.signing import publisher_of, sign, trust_of
from tests.unit.infra.device.agent.scripted import promote_scripted, scripted_runtime

TARGET = "cpu-fp32"
LATER = datetime.now(UTC) + timedelta(days=1)
CRASHES = "os.abort()"


def agent_of(store: FolderStore, folder: Path) -> Agent:
    """As it is after a restart."""
    return Agent(
        trust_of(store),
        device="pi",
        work_folder=folder / "work",
        settings=MeasureSettings(warm_up=0, repeats=3),
        runtimes=(scripted_runtime(folder),),
    )


def outcomes(store: FolderStore, folder: Path, *targets: str) -> list[Outcome]:
    return agent_of(store, folder).run_once(targets or (TARGET,))


def report_on(store: FolderStore, pointer: Pointer) -> LatencyReport:
    (report,), refused = read_reports(store, pointer.release_id)
    assert refused == []
    return report


def published(store: FolderStore, folder: Path, *codes: str) -> list[Pointer]:
    """A release for each code of a network; the target runs the last."""
    return [promote_scripted(store, folder / f"{number}", compiled=code) for number, code in enumerate(codes)]


def put_on_trial(store: FolderStore, current: Pointer, *trials: Pointer) -> None:
    names = [one.release_id for one in trials]
    publish_trials(publisher_of(store), TARGET, names, current.release_id, LATER)


def test_trials_come_after_what_runs_in_their_order_and_in_turns_with_it_and_are_reported_once(
    store: FolderStore, tmp_path: Path
) -> None:
    first, second, current = published(store, tmp_path, "a = 1", "a = 2", "a = 3")
    put_on_trial(store, current, second, first)
    found = outcomes(store, tmp_path)
    assert [one.status for one in found] == ["measured"] * 3
    assert [one.detail.split()[1].rstrip(":") for one in found] == [one.release_id for one in (current, second, first)]
    for trial in (first, second):
        comparison = report_on(store, trial).comparison
        assert comparison is not None
        assert comparison.release_id == current.release_id
    assert [one.status for one in outcomes(store, tmp_path)] == ["skipped"] * 3
    assert current_for(trust_of(store), TARGET, "pi").release_id == current.release_id
    promote(publisher_of(store), TARGET, first.release_id)  # it has been measured before
    assert outcomes(store, tmp_path)[0].detail == f"release {first.release_id} was measured before"


def test_a_trial_is_measured_anew_beside_another_release_that_runs_meanwhile(
    store: FolderStore, tmp_path: Path
) -> None:
    trial, second, first = published(store, tmp_path, "a = 1", "a = 2", "a = 3")
    put_on_trial(store, first, trial)
    assert [one.status for one in outcomes(store, tmp_path)] == ["measured"] * 2
    promote(publisher_of(store), TARGET, second.release_id)
    put_on_trial(store, second, trial)
    assert [one.status for one in outcomes(store, tmp_path)] == ["measured"] * 2
    assert [one.status for one in outcomes(store, tmp_path)] == ["skipped"] * 2
    reports, _ = read_reports(store, trial.release_id)
    assert [one.comparison and one.comparison.release_id for one in reports] == [first.release_id, second.release_id]


def test_a_pinned_device_measures_trials_beside_its_pin(store: FolderStore, tmp_path: Path) -> None:
    pinned, trial, current = published(store, tmp_path, "a = 1", "a = 2", "a = 3")
    pin(publisher_of(store), TARGET, "pi", pinned.release_id)
    put_on_trial(store, current, trial, pinned)
    assert [one.status for one in outcomes(store, tmp_path)] == ["measured"] * 2
    comparison = report_on(store, trial).comparison
    assert comparison is not None
    assert comparison.release_id == pinned.release_id
    assert read_reports(store, current.release_id) == ([], [])


def test_a_trial_that_crashes_twice_is_reported_and_left_alone(store: FolderStore, tmp_path: Path) -> None:
    bad, current = published(store, tmp_path, CRASHES, "a = 2")
    put_on_trial(store, current, bad)
    found = [[one.status for one in outcomes(store, tmp_path)] for _ in range(3)]
    assert found == [["measured", "waiting"], ["skipped", "rejected"], ["skipped", "rejected"]]
    assert report_on(store, bad).status == "failed"


def test_a_trial_is_measured_where_the_release_that_runs_has_failed(store: FolderStore, tmp_path: Path) -> None:
    trial, current = published(store, tmp_path, "a = 1", CRASHES)
    put_on_trial(store, current, trial)
    assert [one.status for one in outcomes(store, tmp_path)] == ["waiting"]  # nothing is tried beside what may crash
    assert [one.status for one in outcomes(store, tmp_path)] == ["rejected", "measured"]
    assert report_on(store, trial).comparison is None


def test_a_trial_that_is_damaged_is_reported_and_stops_no_other(store: FolderStore, tmp_path: Path) -> None:
    bad, good, current = published(store, tmp_path, "a = 1", "a = 2", "a = 3")
    put_on_trial(store, current, bad, good)
    store.delete(release_file_key(bad.release_id, f"{TARGET}.bin"))
    assert [one.status for one in outcomes(store, tmp_path)] == ["measured", "rejected", "measured"]
    assert report_on(store, bad).status == "failed"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"schema_version": 1', "not JSON that can be read"),
        (b'{"schema_version": 9}', "its writer is newer than its reader"),
    ],
)
def test_malformed_trials_are_a_line_in_the_log_and_stop_nothing(
    store: FolderStore, tmp_path: Path, caplog: pytest.LogCaptureFixture, data: bytes, words: str
) -> None:
    published(store, tmp_path, "a = 1")
    other = promote_scripted(store, tmp_path / "other", target="cpu-int8")
    sign(store, trials_path(TARGET), data)
    with caplog.at_level(logging.WARNING):
        found = outcomes(store, tmp_path, TARGET, "cpu-int8")
    assert [(one.target, one.status) for one in found] == [(TARGET, "measured"), ("cpu-int8", "measured")]
    assert f"{TARGET}: what is on trial is left out: trials" in caplog.text
    assert words in caplog.text
    assert report_on(store, other).status == "measured"


def test_trials_that_are_not_what_was_signed_are_a_line_in_the_log(
    store: FolderStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trial, current = published(store, tmp_path, "a = 1", "a = 2")
    put_on_trial(store, current, trial)
    (key,) = (key for key in store.list("targets/") if key.endswith("trials.json"))
    store.put(key, store.get(key).replace(trial.release_id.encode(), b"0123456789ab"))
    assert [one.status for one in outcomes(store, tmp_path)] == ["measured"]
    assert "what is on trial is left out" in caplog.text


def test_a_store_that_is_away_while_trials_are_read_is_waited_for_with_the_report_sent(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, current = published(store, tmp_path, "a = 1", "a = 2")
    put_on_trial(store, current, trial)

    def away(*_: object) -> None:
        raise StoreUnavailableError("the cable is out")

    with monkeypatch.context() as patched:
        patched.setattr("infra.device.agent.agent.read_trials", away)
        with pytest.raises(StoreUnavailableError):
            outcomes(store, tmp_path)
    assert report_on(store, current).status == "measured"
    assert [one.status for one in outcomes(store, tmp_path)] == ["skipped", "measured"]
