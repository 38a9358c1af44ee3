"""Task of the flow deploy that has devices measure releases before a target runs one of them."""

from datetime import datetime

from prefect import task

from infra.device.documents.checks import time_of
from infra.publishing.releases import manifest_of, promote
from infra.publishing.trials import end_trials, publish_trials, signed_trials
from modnet.configs import ComputeConfig, ExportConfig
from modnet.records import Promotion
from modnet.targets import Target
from tasks.deploy import challenged, current_or_first, decided, is_transient_or_outrun, told, why_not_now
from tasks.retries import RETRIES
from tasks.signed import this_publisher
from tasks.stored import put_record, this_store
from tasks.stored_network import evidence_key


@task(task_run_name="put on trial for {target}", retry_condition_fn=is_transient_or_outrun, **RETRIES)
def put_on_trial(
    target: Target, releases: list[str], decide_by: datetime, config: ExportConfig, compute: ComputeConfig
) -> dict[str, Promotion]:
    """Has a target's devices measure releases in turns with the one that it runs, instead of what was on trial before.

    Each is compared with that one on the host first, and the flow `decide` reads the answers. A target without a
    release, or with one that cannot be used, gets the first of them at once, and the others are on trial against it.

    Args:
        target: which all of the releases have files for.
        releases: their release_ids, at most 8, in the order in which devices shall measure them.
        decide_by: when it is decided without the devices that have not reported, UTC.
        config: how their networks were exported.
        compute: for the comparison.

    Returns:
        What became of each, by its release_id.
    """
    return _put(target, releases, decide_by, config, compute)


def _put(
    target: Target, releases: list[str], decide_by: datetime, config: ExportConfig, compute: ComputeConfig
) -> dict[str, Promotion]:
    if not releases:
        return {}
    first, *others = releases
    current = current_or_first(target, first)
    if isinstance(current, Promotion):
        return {first: current} | _put(target, others, decide_by, config, compute)
    publisher, store = this_publisher(), this_store()
    became: dict[str, Promotion] = {}
    on_trial: dict[str, str] = {}
    for release_id in releases:
        if release_id == current.release_id:
            became[release_id] = told(target, release_id, release_id, "the target runs it already")
            continue
        if (why_not := why_not_now(target, current, release_id)) is not None:
            became[release_id] = decided("kept", target, release_id, current.release_id, why_not)
            continue
        challenge = challenged(target, current, manifest_of(publisher, release_id).network_id, config, compute)
        if challenge.problem is not None:
            promote(publisher, target, release_id, instead_of=current.release_id)
            promoted = decided("promoted", target, release_id, current.release_id, challenge.verdict)
            rest = [one for one in releases if one != release_id and one not in became]
            return became | {release_id: promoted} | _put(target, rest, decide_by, config, compute)
        if challenge.workload is not None:
            became[release_id] = decided("kept", target, release_id, current.release_id, challenge.verdict)
            continue
        put_record(store, evidence_key(target, current.release_id, release_id), challenge)
        on_trial[release_id] = challenge.latency
    if on_trial:
        published = publish_trials(publisher, target, list(on_trial), current.release_id, decide_by)
        decide_by = time_of(published.decide_by)
    elif (before := signed_trials(publisher).get(target)) is not None:
        end_trials(publisher, target, before)
    for release_id, latency in on_trial.items():
        reason = f"release {release_id} is on trial until {decide_by:%Y-%m-%d %H:%M} UTC; on the host {latency}"
        became[release_id] = told(target, release_id, current.release_id, reason)
    return became
