"""Tasks of the flow search."""

from collections.abc import Sequence
from typing import Any

from prefect import get_run_logger, task
from prefect.futures import PrefectFuture

from infra.device.errors import InfraError
from infra.device.shown import shown
from infra.ray_pool import places
from infra.settings import Settings
from modnet.configs import ComputeConfig, PruningConfig, RetrainConfig
from modnet.errors import ConfigError, HoursOverError, PruningError
from modnet.records import BaseRecord, Candidate, PrunedTiming, RetrainReport, RungReport, SearchBase
from modnet.workloads import settings_named
from tasks.on_ray import recalled_or_computed
from tasks.remote import candidates, latency
from tasks.retries import RETRIES, is_transient, may_pass
from tasks.search_night import Question
from tasks.search_proposals import pruning_of
from tasks.search_state import Step
from tasks.stored import get_record, identify, recall, this_store
from tasks.stored_dataset import read_dataset
from tasks.stored_network import base_key, candidate_key, pruned_id, retrained_key, shaped


@task(retry_condition_fn=is_transient, **RETRIES)
def count_places(compute: ComputeConfig) -> int:
    """How many candidates train at a time; one where the cluster has no node yet."""
    return max(1, places(compute.candidate_cpus, Settings.from_env().ray_address))


def places_now(compute: ComputeConfig, before: int) -> int:
    """The same while a night is under way, as nodes come and go; as before, where Ray does not answer just now."""
    try:
        return max(1, places(compute.candidate_cpus, Settings.from_env().ray_address))
    except InfraError as error:
        get_run_logger().warning("how many candidates train at a time stays %d: %s", before, error)
        return before


@task(retry_condition_fn=is_transient, **RETRIES)
def figures_of_base(question: Question) -> SearchBase:
    """What errors and latencies of candidates are divided by."""
    export = shaped(this_store(), question.base_id, question.export)
    images = question.retrain.validation_images
    asked = identify(base=question.base_id, shapes=export.shapes, images=images, format=export.input_format)
    key = f"timed/{asked}/figures.json"
    return recalled_or_computed(
        *(key, SearchBase, latency.base_figures, question.base_id, question.retrain, export, key),
        cpus=question.compute.candidate_cpus,
        compute=question.compute,
        name="figures of the base",
    )


@task(task_run_name="{candidate_id} to epoch {epochs}", retry_condition_fn=is_transient, **RETRIES)
def take_step(
    candidate_id: str,
    pruning: PruningConfig,
    retrain: RetrainConfig,
    question: Question,
    base: SearchBase,
    epochs: int,
    ends_at: float,
) -> dict[str, Any]:
    """Brings a candidate to the end of an epoch, and says what it came to, as members of a `SearchEvent`.

    One that is new is pruned and timed first, and not trained where it is over a limit. Trainings pause at `ends_at`,
    in seconds since 1970: another try of the same step has no more time.
    """
    try:
        candidate = _pruned(candidate_id, pruning, retrain, question)
    except PruningError as error:
        get_run_logger().info("%s (%s) is not there: %s", candidate_id, pruning.label, error)
        return {"kind": "refused", "reason": str(error)}
    timing = _timed(candidate_id, question, base)
    found: dict[str, Any] = {"latency_ratio": timing.latency_ratio}
    if reason := _over_limits(timing, question):
        get_run_logger().info("%s (%s) is not trained: %s", candidate_id, candidate.label, reason)
        return found | {"kind": "refused", "reason": f"over a limit: {reason}"}
    try:
        tune_error, seconds = _trained_to(candidate_id, retrain, question, epochs, ends_at)
    except HoursOverError as over:
        get_run_logger().info("%s", over)
        return found | {"kind": "paused", "reason": str(over)}
    ratio = tune_error / base.tune_error
    get_run_logger().info(
        "%s (%s): after %d epochs %.3f times the error of the base, %.3f times its latency",
        *(candidate_id, candidate.label, epochs, ratio, timing.latency_ratio),
    )
    return found | {"kind": "reached", "epochs": epochs, "error_ratio": ratio, "seconds": seconds}


def outcome_of(future: PrefectFuture[dict[str, Any]]) -> dict[str, Any]:
    """What `take_step` has come to, also where it failed; what was lost to something that may pass is only paused."""
    future.wait()  # its state follows a moment after its end
    if future.state.is_completed():
        return future.result()
    reason = shown(future.state.message or future.state.name or "unknown")
    error = future.state.result(raise_on_failure=False)
    is_lost = may_pass(error) or future.state.is_crashed() or future.state.is_cancelled()
    get_run_logger().error("%s: %s", "lost for now" if is_lost else "failed", reason)
    return {"kind": "paused" if is_lost else "failed", "reason": reason}


def asked_for(step: Step, question: Question) -> tuple[str, PruningConfig, RetrainConfig]:
    """The candidate of a step by its name in the store, how it is pruned, and how it is retrained."""
    pruning = pruning_of(step.parameters, question.batch_only)
    retrain = question.retrain.model_copy(update={"learning_rate": step.parameters["learning_rate"]})
    base_id = question.base_id if question.start_id else None
    name = step.candidate_id or pruned_id(this_store(), question.parent_id, pruning, retrain, question.seed, base_id)
    return name, pruning, retrain


def candidates_named(candidate_ids: Sequence[str]) -> list[Candidate]:
    """Their records."""
    return [get_record(this_store(), candidate_key(name), Candidate) for name in candidate_ids]


def patterns_of(base_id: str) -> tuple[str, ...]:
    """The layers that candidates may take the instance norms from, as the workload of the base's data names them."""
    dataset_id = get_record(this_store(), base_key(base_id), BaseRecord).dataset_id
    return settings_named(read_dataset(this_store(), dataset_id).workload).batch_only


def _pruned(candidate_id: str, pruning: PruningConfig, retrain: RetrainConfig, question: Question) -> Candidate:
    base_id = question.base_id if question.start_id else None
    return recalled_or_computed(
        *(candidate_key(candidate_id), Candidate, candidates.prune_network),
        *(question.parent_id, pruning, retrain, question.seed, candidate_id, base_id),
        cpus=question.compute.candidate_cpus,
        compute=question.compute,
        name=f"prune {candidate_id}",
    )


def _timed(candidate_id: str, question: Question, base: SearchBase) -> PrunedTiming:
    export = shaped(this_store(), candidate_id, question.export)
    beside = identify(base=base.forms.model_dump(), shape=export.shape, cpus=question.compute.candidate_cpus)
    return recalled_or_computed(
        *(f"candidates/{candidate_id}/timing-{beside}.json", PrunedTiming, latency.time_pruned),
        *(candidate_id, export, base.forms),
        cpus=question.compute.candidate_cpus,
        compute=question.compute,
        name=f"time {candidate_id}",
    )


def _trained_to(
    candidate_id: str, retrain: RetrainConfig, question: Question, epochs: int, ends_at: float
) -> tuple[float, float]:
    """Error on tune after these epochs, and the seconds of training in all.

    Raises:
        HoursOverError: the time was over before.
    """
    bar = (f"retrain-{candidate_id}", f"Retraining of {candidate_id}")
    cpus, compute = question.compute.candidate_cpus, question.compute
    done = recall(this_store(), retrained_key(candidate_id), RetrainReport)
    if done is None and epochs < retrain.epochs:
        rung = recalled_or_computed(
            *(f"candidates/{candidate_id}/rung-{epochs}.json", RungReport, candidates.train_to_rung),
            *(candidate_id, epochs, ends_at),
            cpus=cpus,
            compute=compute,
            name=f"train {candidate_id} to epoch {epochs}",
            bar=bar,
        )
        return rung.tune_error, rung.seconds
    report = done or recalled_or_computed(
        *(retrained_key(candidate_id), RetrainReport, candidates.train_to_end, candidate_id, ends_at),
        cpus=cpus,
        compute=compute,
        name=f"retrain {candidate_id}",
        bar=bar,
    )
    scores = [one.tune_error for one in report.training.history[:epochs] if one.tune_error is not None]
    if not scores:
        raise ConfigError(f"candidate {candidate_id}: no score after {epochs} epochs; set validate_every to 1")
    # Of a whole training the best weights are kept.
    return (min(scores) if epochs == retrain.epochs else scores[-1]), report.training.seconds


def _over_limits(timing: PrunedTiming, question: Question) -> str:
    config = question.config
    limits = ("ms", timing.p50_ms, config.max_ms), ("MB", timing.size_bytes / 1e6, config.max_mb)
    over = [(unit, got, most) for unit, got, most in limits if most is not None and got > most]
    return ", ".join(f"{got:.3g} {unit}, allowed {most:g}" for unit, got, most in over)
