"""Flow compress: the nightly run."""

from prefect import flow

from flows.benchmark import benchmark
from flows.check_dataset import check_dataset
from flows.collect import collect
from flows.deploy import deploy
from flows.evaluate import evaluate
from flows.export import export
from flows.prepare_dataset import prepare_dataset
from flows.prune import prune
from flows.retrain import retrain_candidates
from flows.search import search
from flows.train_baseline import train_baseline
from flows.trial import trial
from modnet.records import Failure
from tasks.configs.compress import CompressConfig
from tasks.evaluate import choose_winner
from tasks.export import why_refused
from tasks.nights import new_night, remember_list
from tasks.publish_history import publish_history
from tasks.reporting import publish_report
from tasks.room import look_for_room
from tasks.search import candidates_named
from tasks.stored import wait_for_store

_FINALIST = "a finalist of the search"  # the same each night: the same network is the same release


@flow(name="compress")
def compress(config: CompressConfig) -> str:
    """Makes the network small and fast: prunes it in several ways, retrains all of them, and releases the best.

    1. Prepare the data set, look at every image of it, and prepare the unpruned network.
    2. Prune one candidate per entry of `pruning`, and retrain all of them side by side. Or search for some hours.
    3. Score and time them. The fastest wins among those that err little enough.
    4. Export the winner to OpenVINO, check that it computes the same, and publish it as a release.
    5. A target gets it unless its current release is better. Edge agents then measure it.
    6. Write the leaderboard, the plot, a sheet of sample images, a report page and the page of the fleet.

    On two cores the demo settings take about ten minutes. The standard settings take a night. A killed run goes on
    where it was, and a second run of the same question computes nothing. A search that has ended is no such question:
    another run searches for as many hours again.
    """
    wait_for_store(config.compute.store_wait_s)
    look_for_room(config)
    dataset = prepare_dataset(config.dataset)
    check = check_dataset(dataset.dataset_id, config.retrain.max_unreadable, config.compute)
    base = train_baseline(dataset.dataset_id, config.base, config.seed, config.compute)
    failed: dict[str, str] = {}
    if config.search is None:
        night = new_night(base.base_id)
        candidates = prune(base.base_id, config.pruning, config.retrain, config.seed, config.compute, config.start)
        ids = [candidate.candidate_id for candidate in candidates]
        failed = retrain_candidates(ids, config.compute, config.min_survivors)
        survivors = [name for name in ids if name not in failed]
    else:
        recipe = (config.retrain, config.export, config.seed, config.compute, config.start, config.winner_limits)
        found = search(base.base_id, config.search, *recipe)
        night, survivors, candidates = found.night, list(found.finalists), candidates_named(found.finalists)
        if not survivors:
            return publish_history()  # what it has begun goes on the next night

    base_scores, scores, latencies, choice = evaluate(
        base.base_id, survivors, config.winner_limits, config.export, config.compute
    )
    refused: dict[str, str] = {}
    while (reason := why_refused(choice.winner, config.export, config.compute)) is not None:
        refused[choice.winner] = reason
        choice = choose_winner(base_scores, scores, config.winner_limits, latencies, refused)
    export(choice.winner, config.export, config.compute)
    if config.search is None:
        reason = choice.reasons[choice.winner]
        release = deploy(choice.winner, config.export, reason=reason, compute=config.compute, release=config.release)
    else:
        others = [name for name in choice.front if name not in (choice.winner, *refused)]
        names = [choice.winner, *(one for one in others if why_refused(one, config.export, config.compute) is None)]
        asked = (config.export, _FINALIST, config.compute, config.release, config.search.trial_hours)
        release, *_ = trial(names, *asked)
    running = release.running.items()
    reports = [report for name, targets in running for report in benchmark(name, config.benchmark.for_targets(targets))]

    collect(return_state=True)  # the page of the fleet; without it, the run has not failed

    failures = [
        Failure(candidate_id=one.candidate_id, label=one.label, reason=failed[one.candidate_id])
        for one in candidates
        if one.candidate_id in failed
    ]
    if config.search is None:
        remember_list(night, base_scores, scores, latencies, candidates, failed)
    address = publish_report(
        dataset,
        check,
        base_scores,
        scores,
        candidates,
        latencies,
        choice,
        failures,
        release,
        reports,
        config,
        night.night_id,
    )
    publish_history(night.night_id if config.search is None else None, return_state=True)  # a search has told already
    return address
