"""Asks Ray for what the store does not know yet."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from prefect import get_run_logger

from infra.device.stores.object_store import open_store
from infra.ray_pool import run_on_ray
from infra.settings import Settings
from modnet.configs import ComputeConfig
from modnet.records import Record
from tasks.stored import recall

Kind = TypeVar("Kind", bound=Record)


def recalled_or_computed(
    key: str,
    kind: type[Kind],
    function: Callable[..., Kind],
    *args: Any,
    cpus: int,
    gpus: float = 0,
    compute: ComputeConfig,
    name: str,
    watching: AbstractContextManager[None] | None = None,
) -> Kind:
    """The record at `key`, or what `function(*args)` of `tasks.remote` computes on a Ray node and writes there.

    Looking first spares a second run of the same question the start of Ray and of its workers.

    Args:
        watching: entered while it is computed; it shows how far that is.
    """
    settings = Settings.from_env()
    record = recall(open_store(settings.store_url), key, kind)
    if record is not None:
        get_run_logger().info("%s: found in the store", name)
        return record
    with watching or nullcontext():
        return run_on_ray(
            function,
            *args,
            cpus=cpus,
            gpus=gpus,
            timeout_s=compute.timeout_s,
            address=settings.ray_address,
            name=name,
        )
