"""What nights leave for later ones: a trial of each candidate, and a record of the night itself."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
from prefect import get_run_logger, task
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectException
from prefect.runtime import flow_run

from infra.device.shown import shown
from infra.device.stores.object_store import ObjectStore
from modnet.records import Candidate, FrontPoint, HostLatencies, NetworkScores, Night, RetrainReport, Trial
from modnet.records.nights import night_key, trial_key
from modnet.search.hypervolume import hypervolume
from modnet.targets import Target
from tasks.history import best_of, point_of, remembered, trained
from tasks.retries import RETRIES, is_transient
from tasks.stored import get_record, put_record, recall, this_store
from tasks.stored_network import retrained_key

_COMPARED_IN: Target = "cpu-fp32"


def name_of_night(flow_run_id: str) -> str:
    """Of a night that begins now; names sort by time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{flow_run_id[:8]}"


def is_running(flow_run_id: str) -> bool:
    """Prefect says that this flow run is under way; False where it does not know it, or does not answer."""
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(UUID(flow_run_id)).state
    except (httpx.HTTPError, PrefectException, ValueError) as error:  # two runs meet at their next event in any case
        get_run_logger().warning("whether flow run %s is under way is not known: %s", flow_run_id, shown(error))
        return False
    return state is not None and state.is_running()


def new_night(base_id: str) -> Night:
    """The night of a list that this run begins to work off."""
    return Night(
        night_id=name_of_night(flow_run.id),
        base_id=base_id,
        flow_run_id=flow_run.id,
        begun_at=now(),
        hours=None,
        spent_hours=0.0,
    )


def now() -> str:
    """The time as records have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def trials_of(store: ObjectStore, base_id: str) -> dict[str, Trial]:
    """All trials of a base by their candidates; what cannot be read is named in the log and left out."""
    memory = remembered(store)
    for one in memory.left_out:
        get_run_logger().warning("left out of what is known: %s: %s", one.key, one.reason)
    return {one.candidate_id: one for one in memory.trials if one.base_id == base_id}


def volume(trials: Iterable[Trial]) -> float:
    """Hypervolume of those that are trained."""
    return hypervolume(map(point_of, trained(trials)))


def with_front(night: Night, trials: Sequence[Trial]) -> Night:
    """A night that ends now, and the front of all trials of its base."""
    on_it = tuple(map(_front_point, best_of(trials)))
    return night.model_copy(update={"ended_at": now(), "front": on_it, "hypervolume": volume(trials)})


def _front_point(one: Trial) -> FrontPoint:
    error, latency = point_of(one)
    return FrontPoint(candidate_id=one.candidate_id, label=one.label, error_ratio=error, latency_ratio=latency)


@task(retry_condition_fn=is_transient, **RETRIES)
def remember_list(
    night: Night,
    base: NetworkScores,
    scores: Sequence[NetworkScores],
    latencies: HostLatencies,
    candidates: Sequence[Candidate],
    failed: Mapping[str, str],
) -> None:
    """Writes a trial for each candidate of a list that no night knows yet, and the night."""
    store = this_store()
    known = trials_of(store, night.base_id)
    before = volume(known.values())
    figures = {one.network_id: one for one in scores}
    for candidate in candidates:
        name = candidate.candidate_id
        if name in known and (known[name].status == "trained" or name not in figures):
            continue
        found: dict[str, Any] = {"status": "failed", "reason": failed.get(name, ""), "epochs": 0, "seconds": 0.0}
        if name in figures:
            training = get_record(store, retrained_key(name), RetrainReport).training
            found = {
                "status": "trained",
                "epochs": len(training.history),
                "seconds": training.seconds,
                "error_ratio": figures[name].tune.error / base.tune.error,
                "latency_ratio": _latency_ratio(latencies, name, base.network_id),
            }
        known[name] = Trial(
            candidate_id=name,
            base_id=night.base_id,
            label=candidate.label,
            night_id=night.night_id,
            at=now(),
            macs=candidate.complexity.macs,
            parameters=candidate.complexity.parameters,
            **found,
        )
        put_record(store, trial_key(night.base_id, name), known[name])
    spent = datetime.now(UTC) - datetime.fromisoformat(night.begun_at)
    update = {
        "spent_hours": spent.total_seconds() / 3600,
        "trials": tuple(one.candidate_id for one in candidates),
        "hypervolume_before": before,
    }
    put_record(store, night_key(night.night_id), with_front(night.model_copy(update=update), list(known.values())))


def link_night(store: ObjectStore, night_id: str, page: str) -> None:
    """Says in the record of a night which page of the store reports on it."""
    if (night := recall(store, night_key(night_id), Night)) is not None:
        put_record(store, night_key(night_id), night.model_copy(update={"page": page}))


def _latency_ratio(latencies: HostLatencies, network_id: str, base_id: str) -> float | None:
    samples, of_base = (latencies.samples_ms.get(one, {}).get(_COMPARED_IN) for one in (network_id, base_id))
    if not samples or not of_base:
        return None
    return statistics.median(one / other for one, other in zip(samples, of_base, strict=True))
