"""Prefect's server for known names: `python -m infra.local_stack.prefect_server PORT`. The only importer of prefect.

As `prefect server start` runs it in the foreground (Prefect 3.8.8, `prefect.cli._server_utils._run_in_foreground`),
with its background services. Prefect itself answers whatever host is asked for. So a web page could make its own name
mean this machine, and ask as one of the same origin.
"""

from __future__ import annotations

import argparse

import uvicorn
from prefect.server.api.server import create_app
from prefect.settings import get_current_settings
from starlette.middleware.trustedhost import TrustedHostMiddleware

from infra.local_stack.ports import LOOPBACK


def main() -> None:
    """Serves until it is ended."""
    parser = argparse.ArgumentParser(prog="python -m infra.local_stack.prefect_server")
    parser.add_argument("port", type=int, help="to listen on")
    parser.add_argument("--address", default=LOOPBACK, help="to listen on, by default loopback")
    parser.add_argument("--name", action="append", default=[], help="by which others ask for it; may be repeated")
    options = parser.parse_args()
    settings = get_current_settings().server
    uvicorn.run(
        # Around the app and not within: the services within call it by a name that they made up.
        TrustedHostMiddleware(create_app(final=True), allowed_hosts=[LOOPBACK, "localhost", *options.name]),
        host=options.address,
        port=options.port,
        timeout_keep_alive=settings.api.keepalive_timeout,
        ws_ping_interval=settings.api.websocket_ping_interval,
        ws_ping_timeout=settings.api.websocket_ping_timeout,
        log_level=settings.logging_level.lower(),
    )


if __name__ == "__main__":
    main()
