"""Flow search."""

from typing import Any

from prefect import flow, get_run_logger
from prefect.futures import PrefectFuture, as_completed
from prefect.runtime import flow_run

from modnet.configs import ComputeConfig, ExportConfig, Seed, WinnerLimits
from modnet.configs.search import SearchConfig, require_scored
from modnet.records import Found
from modnet.search.halving import rung_epochs
from tasks.configs.baseline import UNPRUNED
from tasks.configs.sections import USUAL, Retraining
from tasks.nights import name_of_night
from tasks.prune import put_start
from tasks.publish_history import publish_history
from tasks.search import asked_for, count_places, figures_of_base, outcome_of, patterns_of, places_now, take_step
from tasks.search_night import Question, SearchNight, finalists

MOST_LOST = 5  # trainings in a row that were lost to something that may pass; it does not, then


@flow(name="search")
def search(
    base_id: str,
    config: SearchConfig = SearchConfig(),
    retrain: Retraining = USUAL.retraining(),
    export: ExportConfig = ExportConfig(),
    seed: Seed = 0,
    compute: ComputeConfig = ComputeConfig(),
    start: str = UNPRUNED,
    winner_limits: WinnerLimits = WinnerLimits(),
) -> Found:
    """Searches for networks that err little and are fast, for some hours. It goes on where earlier nights have stopped.

    Each candidate is pruned, timed beside the unpruned network, and trained for a few epochs. The best of them train
    on. New ones are asked for by what all earlier candidates of the same unpruned network came to.

    Returns the finalists, those of earlier nights as well: what is trained to the end, errs little enough, and is
    beaten by no other. What is under way when the hours are over is saved.
    """
    require_scored(retrain)
    start_id = put_start(base_id, start)
    question = Question(base_id, start_id, retrain, seed, export, compute, config, patterns_of(base_id))
    base = figures_of_base(question)
    rungs = rung_epochs(retrain.epochs, config.reduction, config.first_epochs)
    night = SearchNight(question, rungs, name_of_night(flow_run.id), flow_run.id)
    count = count_places(compute)
    get_run_logger().info("%d candidates at a time, compared after epochs %s", count, ", ".join(map(str, rungs)))
    under_way: dict[PrefectFuture[dict[str, Any]], str] = {}
    problem: str | None = None
    lost = 0
    while True:
        count = places_now(compute, count)
        while problem is None and len(under_way) < count and (step := night.next_step()) is not None:
            candidate_id, pruning, recipe = asked_for(step, question)
            night.begin(step, candidate_id)
            epochs = rungs[step.rung]
            future = take_step.submit(candidate_id, pruning, recipe, question, base, epochs, night.ends_at)
            under_way[future] = candidate_id
        if not under_way:
            break
        future = next(iter(as_completed(list(under_way))))
        outcome = outcome_of(future)
        night.end(under_way.pop(future), outcome)
        lost = lost + 1 if outcome["kind"] == "paused" and night.left_s > 0 else 0
        problem = problem or night.why_no_use()
        if lost >= MOST_LOST:
            problem = problem or f"{lost} trainings in a row were lost, at last: {outcome['reason']}"
    trained = night.close(count)
    publish_history(night.record.night_id, return_state=True)  # a page; without it, the search has not failed
    if problem is not None:
        raise RuntimeError(problem)
    return Found(night=night.record, finalists=tuple(finalists(trained, winner_limits, config.finalists)))
