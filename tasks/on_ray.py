"""Asks Ray for what the store does not know yet."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from prefect import get_run_logger
from prefect.futures import PrefectFutureList

from infra.device.logs import log_fields
from infra.device.shown import shown
from infra.errors import OutOfMemoryError, ResourcesUnavailableError
from infra.ray_pool import run_on_ray
from infra.settings import Settings
from modnet.configs import ComputeConfig
from modnet.records import Record
from tasks.remote.node import answered
from tasks.stored import recall, this_store
from tasks.timeline import this_run, this_stage, this_timeline
from tasks.training_progress import shown_training

Kind = TypeVar("Kind", bound=Record)

PARTS_AFTER_OUT_OF_MEMORY = 2


def recalled_or_computed(
    key: str,
    kind: type[Kind],
    function: Callable[..., Kind],
    *args: Any,
    cpus: int,
    compute: ComputeConfig,
    name: str,
    bar: tuple[str, str] | None = None,
) -> Kind:
    """The record at `key`, or what `function(node, *args)` of `tasks.remote` computes on a Ray node and writes there.

    Looking first spares a second run of the same question the start of Ray and of its workers. Of a training, `bar` is
    key and description of the artifact that shows how far it is; one that is killed for memory is tried once more.
    """
    settings, timeline, stage = Settings.from_env(), this_timeline(), this_stage()

    def compute_on_ray(gpus: float | None, memory_gb: float, batch_parts: int = 1) -> Kind:
        about = log_fields(run_id=this_run(), stage=stage, computation=name)
        with about, timeline.computing(name, stage) as began:
            computed: Kind = run_on_ray(
                answered,
                *(key, kind, function, args, cpus, gpus, compute.store_wait_s, batch_parts),
                cpus=cpus,
                gpus=gpus or 0,
                memory_gb=memory_gb,
                scales=compute.cluster_scales,
                timeout_s=compute.timeout_s,
                address=settings.ray_address,
                name=name,
                on_start=began,
            )
        return computed

    record = recall(this_store(compute.store_wait_s), key, kind)
    if record is not None:
        get_run_logger().info("%s: found in the store", name)
        timeline.found(name, stage)
        return record
    if bar is None:
        return compute_on_ray(None, 0)
    with shown_training(key.rpartition("/")[0], *bar):
        try:
            return compute_on_ray(compute.training_gpus, compute.training_memory_gb)
        except OutOfMemoryError as error:
            get_run_logger().warning("%s; once more, with each batch in %d parts", error, PARTS_AFTER_OUT_OF_MEMORY)
        try:
            return compute_on_ray(compute.training_gpus, compute.training_memory_gb, PARTS_AFTER_OUT_OF_MEMORY)
        except OutOfMemoryError as error:  # the same would come of every other try
            raise ResourcesUnavailableError(f"{error}; also with each batch in parts") from error


def failures(kind: str, names: Sequence[str], futures: PrefectFutureList[Any]) -> dict[str, str]:
    """Waits for one task run each; those that failed, with their reasons, which the log has too."""
    futures.wait()
    failed = {}
    for name, future in zip(names, futures, strict=True):
        if not future.state.is_completed():
            failed[name] = shown(future.state.message or future.state.name or "unknown")
            get_run_logger().error("%s %s failed: %s", kind, name, failed[name])
    return failed
