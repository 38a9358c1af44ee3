"""Task of the flow decide: what becomes of releases on trial."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from prefect import get_run_logger, task
from tuf.api.metadata import TargetFile

from infra.device.documents.checks import time_of
from infra.device.documents.pointer import Pointer
from infra.device.documents.trials import Trials
from infra.device.errors import ConflictError, InfraError, NotStoredError
from infra.device.shown import shown
from infra.fleet.rows import Collected
from infra.fleet.trials import OnDevices, Ratio, missing, on_devices
from infra.publishing.pointers import current_of, pinned_devices
from infra.publishing.releases import manifest_of, promote
from infra.publishing.repository import Publisher
from infra.publishing.stops import DAMAGED
from infra.publishing.trials import end_trials, signed_trials, trials_in
from modnet.configs import TrialConfig
from modnet.evaluation.champion import Standing, choose
from modnet.records import Challenge, Contender
from modnet.report.run_tables import Row
from tasks.artifacts import create_table_artifact
from tasks.collect import read_new
from tasks.decisions import last_decision, record_decision
from tasks.deploy import first_to, why_not_now
from tasks.releases import revoked_devices
from tasks.retries import RETRIES, is_transient
from tasks.signed import this_publisher
from tasks.stored import recall, this_store
from tasks.stored_network import evidence_key, label_of
from tasks.telling import tell_new_champion

_NAMED = 3
"""So many devices does a row name."""


class Outcome(NamedTuple):
    """What has become of a target's trials, in words."""

    step: str
    words: str


@task(retry_condition_fn=is_transient, **RETRIES)
def decide_trials(config: TrialConfig, share: float) -> list[Row]:
    """Promotes a release on trial or keeps the one that runs, or waits; a row for each target with trials.

    One that cannot be decided does not keep the others from it.

    Raises:
        InfraError: of the first that could not be decided.
    """
    publisher, rows, problems = this_publisher(), [], []
    found = signed_trials(publisher)
    reports = [row for _, row in sorted(read_new().rows.items()) if row is not None] if found else []
    for target, signed in found.items():
        log = get_run_logger().info
        try:
            outcome = _decide(publisher, target, signed, reports, config, share)
        except InfraError as error:
            problems.append(error)
            outcome, log = Outcome("it waits", f"it could not be decided: {error}"), get_run_logger().warning
        rows.append({"target": target, "what happens": outcome.step, "why": outcome.words})
        log("%s: %s: %s", target, outcome.step, shown(outcome.words))
    if rows:
        create_table_artifact(rows, key="trials", description="Releases on trial")
    if problems:
        raise problems[0]
    return rows


def _decide(
    publisher: Publisher,
    target: str,
    signed: TargetFile,
    reports: Sequence[Collected],
    config: TrialConfig,
    share: float,
) -> Outcome:
    """What becomes of one target's trials, done: decided, written, and ended."""
    current = current_of(publisher, target)
    if current is None:
        raise NotStoredError(f"target {target!r} in {publisher.store.url}: runs no release, and has some on trial")
    try:
        trials = trials_in(publisher, signed)
    except DAMAGED as error:
        words = f"release {current.release_id} stays: what is on trial is damaged: {error}"
        return _end(publisher, signed, "kept", current, current.release_id, words)
    if current.release_id in trials.release_ids and current.replaces == trials.against:
        return _end_of_killed(publisher, signed, current, trials.against)
    if current.release_id != trials.against:
        words = f"release {current.release_id} stays: the trials were against {trials.against}, which {target} ran then"
        return _end(publisher, signed, "kept", current, current.release_id, words)
    now, without = datetime.now(UTC), pinned_devices(publisher, target) | revoked_devices()
    awaited = missing(reports, trials, without, now, timedelta(hours=config.silent_after_h))
    if now < time_of(trials.decide_by) and (awaited is None or awaited):
        return Outcome("it waits", _awaited_words(awaited, trials))
    here = [row for row in reports if row.device not in without]
    standings = _standings(publisher, current, trials, here)
    chosen = choose(target, current.release_id, standings, config.margin)
    contenders = [one.contender for one in standings]
    kept, words = current.release_id, chosen.words
    if chosen.winner is None:
        return _end(publisher, signed, "kept", current, kept, words, contenders)
    winner = chosen.winner.release_id
    try:
        promote(publisher, target, winner, instead_of=kept, share=share)
    except ConflictError as error:
        return Outcome("it waits", f"somebody else was first: {error}")
    except DAMAGED as error:
        words = f"release {kept} stays: {winner} was chosen, and cannot be used: {error}"
        return _end(publisher, signed, "kept", current, kept, words, contenders)
    return _end(publisher, signed, "promoted", current, winner, words + first_to(share), contenders)


def _end(
    publisher: Publisher,
    signed: TargetFile,
    kind: Literal["promoted", "kept"],
    before: Pointer,
    after: str,
    words: str,
    contenders: Sequence[Contender] = (),
) -> Outcome:
    """Writes what was decided, and ends the trials; others that somebody published meanwhile go on."""
    tell_new_champion(
        record_decision(
            *(this_store(), kind, before.target),
            before=before.release_id,
            after=after,
            words=words,
            by="the flow decide",
            contenders=contenders,
        )
    )
    with suppress(ConflictError):
        end_trials(publisher, before.target, signed)
    return Outcome(kind, words)


def _end_of_killed(publisher: Publisher, signed: TargetFile, current: Pointer, before: str) -> Outcome:
    """Ends trials of which one runs already: whoever promoted it did not end them, and may have said nothing."""
    target, after = current.target, current.release_id
    said = last_decision(this_store(), target)
    if said is None or said.after != after:
        words = f"release {after} takes {target}: it was chosen of those on trial by a run that was killed then"
        told = record_decision(
            *(this_store(), "promoted", target), before=before, after=after, words=words, by="the flow decide"
        )
        tell_new_champion(told)
    with suppress(ConflictError):
        end_trials(publisher, target, signed)
    return Outcome("promoted", f"release {after} runs already")


def _awaited_words(awaited: Mapping[str, Sequence[str]] | None, trials: Trials) -> str:
    until = f"until {time_of(trials.decide_by):%Y-%m-%d %H:%M} UTC"
    if awaited is None:
        return f"{until} for a device: none has reported on release {trials.against}"
    names = [f"{device} ({', '.join(releases)})" for device, releases in awaited.items()]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{until} for {', '.join(names[:_NAMED])}{more}"


def _standings(publisher: Publisher, current: Pointer, trials: Trials, reports: Sequence[Collected]) -> list[Standing]:
    """What is known of each release on trial: by devices, or by the host where no device has reported on any."""
    by_devices = any(row.target == trials.target and row.release_id in trials.release_ids for row in reports)
    return [_standing(publisher, current, one, reports if by_devices else None) for one in trials.release_ids]


def _standing(publisher: Publisher, current: Pointer, release_id: str, reports: Sequence[Collected] | None) -> Standing:
    target, champion, store = current.target, current.release_id, this_store()
    network_id, label = "unknown", "unknown"
    try:
        network_id = manifest_of(publisher, release_id).network_id
        label, objection = label_of(store, network_id), why_not_now(target, current, release_id)
    except DAMAGED as error:
        objection = f"it cannot be used: {error}"
    challenge = recall(store, evidence_key(target, champion, release_id), Challenge)
    if reports is not None:
        found = on_devices(reports, target, champion, release_id)
        count = len(found.devices)
        by, where = f"devices {', '.join(found.devices)}", f"on {count} device{'' if count == 1 else 's'}"
        objection = objection or found.objection
    else:
        by, where = "the host of the run, as no device has reported", "on the host, no device having reported"
        found = _on_host(challenge)
    ratio = found.ratio
    contender = Contender(
        release_id=release_id,
        network_id=network_id,
        label=label,
        error=None if challenge is None else challenge.new_error,
        difference_low=None if challenge is None else challenge.difference_low,
        difference_high=None if challenge is None else challenge.difference_high,
        latency_ratio=None if ratio is None else ratio.value,
        latency_low=None if ratio is None else ratio.low,
        latency_high=None if ratio is None else ratio.high,
        latency_by=by if ratio is not None else "nobody",
        left_out=found.left_out,
    )
    return Standing(contender, None if challenge is None else challenge.current_error, where, objection)


def _on_host(challenge: Challenge | None) -> OnDevices:
    """The host's comparison, as if it was the one device."""
    if challenge is None or challenge.latency_ratio is None or challenge.low is None or challenge.high is None:
        return OnDevices(None)
    return OnDevices(Ratio(challenge.latency_ratio, challenge.low, challenge.high))
