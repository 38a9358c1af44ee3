"""Flow compress: the nightly run."""

from prefect import flow

from flows.benchmark import benchmark
from flows.deploy import deploy
from flows.evaluate import evaluate
from flows.export import export
from flows.prepare_dataset import prepare_dataset
from flows.prune import prune
from flows.retrain import retrain_candidates
from flows.train_baseline import train_baseline
from modnet.configs import CompressConfig
from modnet.records import Failure
from tasks.evaluate import choose_winner
from tasks.export import why_refused
from tasks.reporting import publish_report


@flow(name="compress")
def compress(config: CompressConfig) -> str:
    """Prunes the base network in every configuration, retrains the candidates in parallel, and releases the best.

    The best within the budget that computes the same matte when it is exported to OpenVINO is published and promoted;
    then edge agents measure it, and the leaderboard, the Pareto plot, sample mattes and a report page are written. What
    an earlier run of the same question left in the store is used again.
    """
    dataset = prepare_dataset(config.dataset)
    base = train_baseline(dataset.dataset_id, config.base, config.seed, config.compute)
    candidates = prune(base.base_id, list(config.pruning), config.retrain, config.seed, config.compute)

    ids = [candidate.candidate_id for candidate in candidates]
    failed = retrain_candidates(ids, config.compute, config.min_survivors)
    survivors = [name for name in ids if name not in failed]

    base_scores, scores, choice = evaluate(base.base_id, survivors, config.budget, config.compute)
    refused: dict[str, str] = {}
    while (reason := why_refused(choice.winner, config.export, config.compute)) is not None:
        refused[choice.winner] = reason
        choice = choose_winner(base_scores, scores, config.budget, refused)
    others = [base.base_id, *(name for name in survivors if name != choice.winner)]
    latencies = export(choice.winner, others, config.export, config.compute)
    release = deploy(choice.winner, config.export)
    reports = benchmark(release.release_id, config.benchmark)

    failures = [
        Failure(candidate_id=one.candidate_id, label=one.label, reason=failed[one.candidate_id])
        for one in candidates
        if one.candidate_id in failed
    ]
    return publish_report(
        dataset,
        base_scores,
        scores,
        candidates,
        latencies,
        choice,
        failures,
        release.release_id,
        reports,
        config.export,
        config.compute,
    )
