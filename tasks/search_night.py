"""One night of a search: every event goes to the store, and from there the next night, or the same one, goes on."""

import secrets
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from prefect import get_run_logger
from pydantic import ValidationError

from infra.device.errors import ConflictError, NotStoredError
from infra.device.stores.object_store import ObjectStore
from modnet.configs import ComputeConfig, ExportConfig, RetrainConfig, WinnerLimits
from modnet.configs.search import SearchConfig
from modnet.errors import ConfigError
from modnet.records import Candidate, Learned, Night, Record, RetrainReport, SearchEvent, Trial
from modnet.records.nights import event_key, night_key, trial_key
from tasks.history import best_of, point_of, trained
from tasks.nights import is_running, now, trials_of, volume, with_front
from tasks.search_proposals import parameters_of
from tasks.search_state import SearchState, Step, state_of
from tasks.stored import STAGE_VERSIONS, identify, put_record, recall, this_store
from tasks.stored_network import candidate_key, retrained_key

Kind = TypeVar("Kind", bound=Record)

MOST_USELESS = 20  # candidates in a row that are refused or fail: then the space or the limits are wrong
_OVER_AFTER = timedelta(hours=20)  # an open night that nobody went on with by then has ended: the next one is due
_READERS = 8


class Question(NamedTuple):
    """What every candidate of a search has in common.

    Attributes:
        start_id: what is pruned; None: the base.
        retrain: how candidates are retrained, but for what the search chooses.
        batch_only: patterns of layers, see `pruning_of`.
    """

    base_id: str
    start_id: str | None
    retrain: RetrainConfig
    seed: int
    export: ExportConfig
    compute: ComputeConfig
    config: SearchConfig
    batch_only: tuple[str, ...]

    @property
    def parent_id(self) -> str:
        """Of what is pruned."""
        return self.start_id or self.base_id

    @property
    def search_id(self) -> str:
        """Name of the search: another space or another recipe is another search. Hours make none."""
        asked = self.config.model_dump(exclude={"hours", "candidates", "finalists", "trial_hours"})
        retrain, read = self.retrain.model_dump(), (self.export.input_shape, self.export.input_format)
        stages = ("dataset", "base", "prune", "retrain")
        return identify(
            base=self.base_id,
            start=self.start_id,
            search=asked,
            retrain=retrain,
            read=read,
            seed=self.seed,
            versions={"events": 1} | {stage: STAGE_VERSIONS[stage] for stage in stages},
        )


class SearchNight:
    """One night of a search, under way; for one thread.

    Attributes:
        state: of the search.
        record: of the night, as it was last written.
    """

    def __init__(self, question: Question, rungs: tuple[int, ...], night_id: str, flow_run_id: str | None) -> None:
        self._question, self._store = question, this_store()
        self._base_id, self._search_id = question.base_id, question.search_id
        self._writer = secrets.token_hex(8)
        self.state = _read_state(self._store, self._search_id, rungs)
        self._began = time.monotonic() - (0.0 if self.state.night_id is None else self.state.spent_s)
        self._trials = trials_of(self._store, self._base_id)
        open_night = None if self.state.night_id is None else self._open_night(self.state.night_id)
        if open_night is not None and datetime.now(UTC) - datetime.fromisoformat(open_night.begun_at) > _OVER_AFTER:
            self._add(kind="ended")
        if self.state.night_id is None:
            self._began, open_night = time.monotonic(), None
            self._add(kind="began", night_id=night_id, learned=self._learned())
        else:
            get_run_logger().info(
                "night %s goes on: %.2f of its %g hours are spent",
                *(self.state.night_id, self.state.spent_s / 3600, question.config.hours),
            )
        assert self.state.night_id is not None
        self.record = open_night or Night(
            night_id=self.state.night_id,
            base_id=self._base_id,
            flow_run_id=flow_run_id,
            begun_at=now(),
            hours=question.config.hours,
            spent_hours=0.0,
            hypervolume_before=volume(self._trials.values()),
        )
        self.record = self.record.model_copy(update={"flow_run_id": flow_run_id})
        put_record(self._store, night_key(self.record.night_id), self.record)
        for name in list(self.state.under_way):
            self._add(kind="paused", candidate_id=name, reason="the run that trained it is gone")

    def _open_night(self, night_id: str) -> Night | None:
        """The record of a night that has not ended.

        Raises:
            ConflictError: the run that it is of is under way.
        """
        night = recall(self._store, night_key(night_id), Night)
        if night is not None and night.flow_run_id is not None and is_running(night.flow_run_id):
            raise ConflictError(
                f"search {self._search_id}: its night {night_id} is under way in flow run {night.flow_run_id}; start "
                "this one when that has ended. Of a run that was killed, a sweep says so within ten minutes"
            )
        return night

    @property
    def left_s(self) -> float:
        """Seconds of the night's hours that are left."""
        return max(0.0, 3600 * self._question.config.hours - self._spent_s)

    @property
    def ends_at(self) -> float:
        """When they are over, in seconds since 1970."""
        return time.time() + self.left_s

    def next_step(self) -> Step | None:
        """What a free worker does; None: nothing, as there are candidates enough, or the hours are over."""
        question = self._question
        return self.state.next_step(question.config, question.seed) if self.left_s > 0 else None

    def why_no_use(self) -> str | None:
        """Why the search is to end, where it finds nothing but what it cannot use."""
        if len(reasons := self.state.useless_in_a_row()) < MOST_USELESS:
            return None
        return (
            f"search {self._search_id}: the last {len(reasons)} candidates were refused or failed, at last: "
            f"{reasons[-1]}; change the space or the limits of the search"
        )

    def begin(self, step: Step, candidate_id: str) -> None:
        """A worker begins a step."""
        is_new = candidate_id not in self.state.parameters
        parameters = dict(step.parameters) if is_new else None
        self._add(kind="started", candidate_id=candidate_id, rung=step.rung, parameters=parameters)

    def end(self, candidate_id: str, outcome: Mapping[str, Any]) -> None:
        """A worker has ended a step, with `kind` and other members of an event."""
        self._add(candidate_id=candidate_id, **outcome)
        self._keep_trial(candidate_id)

    def close(self, places: int) -> list[Trial]:
        """Ends the night, in which so many could train at a time; what is trained to the end, over all nights."""
        for name in self.state.of_night:
            self._keep_trial(name)
        self._add(kind="ended")
        update = {
            "spent_hours": self._spent_s / 3600,
            "busy_share": min(1.0, self.state.busy_s / (places * self._spent_s)),
            "trials": tuple(self.state.of_night),
        }
        self.record = with_front(self.record.model_copy(update=update), list(self._trials.values()))
        put_record(self._store, night_key(self.record.night_id), self.record)
        return [one for one in trained(self._trials.values()) if self._is_there(one)]

    def _is_there(self, one: Trial) -> bool:
        """Networks of old nights are tidied away, or of another version; their trials stay."""
        name = one.candidate_id
        return (
            recall(self._store, candidate_key(name), Candidate) is not None
            and recall(self._store, retrained_key(name), RetrainReport) is not None
        )

    @property
    def _spent_s(self) -> float:
        return time.monotonic() - self._began

    def _add(self, **members: Any) -> None:
        """Writes the next event, and takes it in.

        Raises:
            ConflictError: another run searches the same.
        """
        night_id = members.pop("night_id", self.state.night_id)
        event = SearchEvent(night_id=night_id, written_by=self._writer, spent_s=self._spent_s, **members)
        number = self.state.event_count
        key = event_key(self._search_id, number)
        try:
            put_record(self._store, key, event, if_absent=True)
        except ConflictError as error:
            if _read(self._store, key) != event:  # else the answer to an earlier try was lost
                raise ConflictError(
                    f"search {self._search_id}: another run has written its event {number}; one run at a time searches "
                    "the same. This one ends, the other one goes on with what both have found"
                ) from error
        self.state.add(event)

    def _learned(self) -> tuple[Learned, ...]:
        """What candidates of other runs came to."""
        found = []
        for one in self._trials.values():
            if one.candidate_id in self.state.parameters or one.error_ratio is None or one.latency_ratio is None:
                continue
            try:
                candidate = _undated(self._store, candidate_key(one.candidate_id), Candidate)
                retrain = type(self._question.retrain).model_validate(candidate.retrain)
            except (NotStoredError, ValidationError):  # tidied away, or of another version
                continue
            if (parameters := parameters_of(candidate.pruning, retrain)) is not None:
                found.append(
                    Learned(parameters=dict(parameters), error_ratio=one.error_ratio, latency_ratio=one.latency_ratio)
                )
        return tuple(found)

    def _keep_trial(self, name: str) -> None:
        state = self.state
        try:
            candidate = _undated(self._store, candidate_key(name), Candidate)
        except (NotStoredError, ValidationError):
            candidate = None
        reached = state.reached.get(name)
        is_trained = reached is not None and len(reached.errors) == len(state.rungs)
        reason = ""
        if name in state.refused:
            status, reason = "refused", state.refused[name]
        elif name in state.failed:
            status, reason = "failed", state.failed[name]
        elif is_trained:
            status = "trained"
        elif name in state.paused or name in state.under_way or reached is None:
            status, reason = "waiting", "the hours were over while it trained"
        else:
            status, reason = "stopped", state.why_stopped(name, self._question.config.reduction)
        cost = None if candidate is None else candidate.complexity
        trial = Trial(
            candidate_id=name,
            base_id=self._base_id,
            label=name if candidate is None else candidate.label,
            night_id=self._night_of(name),
            at=now(),
            status=status,
            reason=reason,
            epochs=state.epochs.get(name, 0),
            error_ratio=reached.errors[-1] if reached and reached.errors else None,
            latency_ratio=None if reached is None else reached.latency,
            macs=0 if cost is None else cost.macs,
            parameters=0 if cost is None else cost.parameters,
            seconds=state.seconds.get(name, 0.0),
        )
        before = self._trials.get(name)
        if before is None or before.model_copy(update={"at": trial.at}) != trial:
            self._trials[name] = trial
            put_record(self._store, trial_key(self._base_id, name), trial)

    def _night_of(self, name: str) -> str:
        if name in self.state.of_night or name not in self._trials:
            return self.record.night_id
        return self._trials[name].night_id


def finalists(candidates: Sequence[Trial], limits: WinnerLimits, count: int) -> list[str]:
    """The candidates that devices shall measure: the front of those that err little enough, the fastest first.

    Where none does, those of the whole front that err least.
    """
    within = [one for one in candidates if point_of(one)[0] <= limits.max_error_ratio]
    best = best_of(within or candidates)
    return [one.candidate_id for one in (best if within else best[::-1])][:count]


def _read_state(store: ObjectStore, search_id: str, rungs: tuple[int, ...]) -> SearchState:
    keys = store.list(f"searches/{search_id}/")
    with ThreadPoolExecutor(_READERS) as pool:
        return state_of(pool.map(lambda key: _read(store, key), keys), rungs)


def _undated(store: ObjectStore, key: str, kind: type[Kind]) -> Kind:
    """A record, not dated anew as by `get_record`: who looks at all candidates does not need each of them."""
    return kind.model_validate_json(store.get(key))


def _read(store: ObjectStore, key: str) -> SearchEvent:
    try:
        return _undated(store, key, SearchEvent)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "record"
        raise ConfigError(
            f"{store.url}/{key} is no SearchEvent of this version: {where}: {first['msg']}; with another seed, a "
            "search begins anew"
        ) from error
