"""The Prefect worker in a container: `python -m infra.deploy.worker`, in the folder of `prefect.yaml`.

There is one worker, and its flows are its processes. So when it starts, no flow of before computes any more: those runs
become `Crashed`, and runs that a schedule wanted meanwhile are skipped, as `make up` does it. The flows of this image
are deployed, reports are collected soon after they come, and signatures whose time is half over are made anew. With
RAY_ADDRESS the container also becomes a node of that cluster, without CPUs: flows reach Ray by the node that they run
on.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from infra.deploy.children import run_together
from infra.device.errors import InfraError, SettingsError
from infra.device.shown import ShownParser, shown
from infra.errors import StackError
from infra.local_stack.automations import WEBHOOK, automate, webhook_of
from infra.local_stack.deployment import run_prefect
from infra.local_stack.prefect_api import PrefectApi
from infra.local_stack.services import COMPUTING, ONE_COMPUTES, WORK_POOL, WORKER, worker_command
from infra.local_stack.sweep import as_lines, settle_begun, skip_missed_runs
from infra.settings import Settings

_NAME = f"{WORKER}container"  # by its beginning a sweep looks for lost processes here
_READY_WITHIN_S = 300.0
_POLL_S = 1.0


def main() -> int:
    """Works until SIGTERM, and returns the exit code."""
    parser = ShownParser(prog="python -m infra.deploy.worker", description="A Prefect worker, and its node of Ray.")
    says = "only say by the exit code whether the server knows this worker"
    parser.add_argument("--is-online", action="store_true", help=says)
    options = parser.parse_args()
    try:
        settings = Settings.from_env()
        api = _api(os.environ)
        if options.is_online:
            return 0 if api.is_healthy() and api.has_worker(WORK_POOL, _NAME) else 1
        webhook = webhook_of(os.environ)
        os.environ.pop(WEBHOOK, None)  # a secret, of which flows need nothing
        _prepare(api, webhook)
    except InfraError as error:
        sys.stderr.write(f"{shown(error)}\n")
        return 3 if isinstance(error, SettingsError) else 1
    commands = [worker_command(_NAME)]
    if settings.ray_address is not None:
        commands.append(ray_node_command(settings.ray_address))
    return run_together(commands)


def ray_node_command(address: str) -> list[str]:
    """Joins a Ray cluster by a node that computes nothing itself."""
    ray = Path(sys.executable).with_name("ray")
    return [
        str(ray),
        "start",
        f"--address={address}",
        "--num-cpus=0",
        "--num-gpus=0",
        "--disable-usage-stats",
        "--block",
    ]


def _api(environ: Mapping[str, str]) -> PrefectApi:
    """The server that Prefect's own variables name.

    Raises:
        SettingsError: one is missing.
    """
    names = ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING")
    if missing := [name for name in names if not environ.get(name)]:
        raise SettingsError(f"{' and '.join(missing)}: not set, wanted the server that the worker works for")
    return PrefectApi(*(environ[name] for name in names))


def _prepare(api: PrefectApi, webhook: str | None) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while not api.is_healthy():
        if time.monotonic() >= deadline:
            raise StackError(f"{api.url}: Prefect does not answer within {_READY_WITHIN_S:g} s")
        time.sleep(_POLL_S)
    rows = settle_begun(api, "the worker has started anew")
    sys.stderr.write("".join(f"swept: {line}\n" for line in as_lines(rows)))
    skip_missed_runs(api)
    if WORK_POOL not in api.work_pools():
        api.make_work_pool(WORK_POOL)
    api.keep_work_queue(WORK_POOL, COMPUTING, 1, ONE_COMPUTES)
    run_prefect(("--no-prompt", "deploy", "--all"), project=Path.cwd(), environ=os.environ)
    automate(api, webhook)
    from infra.local_stack import renew  # its packages would take the health check longer than the rest

    renew.main()  # signs what the nights would have meanwhile; what hinders it is said, and no more


if __name__ == "__main__":
    sys.exit(main())
