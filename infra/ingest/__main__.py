"""Command line of the ingest: `python -m infra.ingest --devices .modnet/devices.json --port 8343`.

MODNET_STORE and boto3's variables name the store; PREFECT_API_URL and PREFECT_API_AUTH_STRING say who is told.
Exit codes: 0 ended by a signal, 1 the port cannot be had, 2 usage, 3 a setting.
"""

from __future__ import annotations

import argparse
import logging
import os
import ssl
import sys
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

import uvicorn

from infra.device.errors import InfraError, SettingsError
from infra.device.logs import log_formatter
from infra.device.shown import ShownParser, shown
from infra.device.stores.object_store import open_store
from infra.ingest.app import Ingest
from infra.ingest.at_most import AtMost
from infra.ingest.counts import Counts
from infra.ingest.devices import DeviceRegistry
from infra.ingest.events import Events
from infra.ingest.invitations import Invitations
from infra.settings import Settings

_MAX_CONNECTIONS = 200
_LINES_A_MINUTE = 60


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until SIGTERM or SIGINT, and returns the exit code."""
    options = _parser().parse_args(arguments)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(log_formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(AtMost(_LINES_A_MINUTE))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("botocore").setLevel(logging.WARNING)
    try:
        _check_address(options)
        registry = DeviceRegistry(options.devices)
        registry.devices()
        events = Events(os.environ.get("PREFECT_API_URL"), os.environ.get("PREFECT_API_AUTH_STRING"))
        invitations = Invitations(options.devices.with_name("invitations.json"))
        counts = Counts(options.devices.with_name("metrics") / "ingest.prom")
        store = open_store(Settings.from_env().store_url)
        ingest = Ingest(store, registry, invitations, events.tell, counts.add)
    except InfraError as error:
        sys.stderr.write(f"{shown(error)}\n")
        return 3
    uvicorn.run(
        ingest.app(),
        host=options.host,
        port=options.port,
        ssl_certfile=options.certificate,
        ssl_keyfile=options.key,
        http="h11",
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MAX_CONNECTIONS,
        h11_max_incomplete_event_size=16 << 10,  # all headers of a request
        timeout_graceful_shutdown=2,
    )
    return 0


def _check_address(options: argparse.Namespace) -> None:
    """Refuses an address that others reach without TLS, and a certificate that cannot be used.

    Raises:
        SettingsError: says which.
    """
    try:
        is_loopback = ip_address(options.host).is_loopback
    except ValueError as error:
        raise SettingsError(f"--host {options.host!r}: wanted an address, as 127.0.0.1 or 0.0.0.0") from error
    if (options.certificate is None) != (options.key is None):
        raise SettingsError("--certificate and --key: got one of them, wanted both")
    if options.certificate is None:
        if not is_loopback:
            raise SettingsError(f"--host {options.host}: others reach it, wanted --certificate and --key as well")
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(options.certificate, options.key)
    except OSError as error:
        raise SettingsError(f"--certificate {options.certificate} --key {options.key}: {error}") from error


def _parser() -> argparse.ArgumentParser:
    parser = ShownParser(prog="python -m infra.ingest", description="Takes devices' reports.")
    parser.add_argument("--devices", type=Path, required=True, help="devices.json, which `modnet device` writes")
    parser.add_argument("--port", type=int, required=True, help="to listen on")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; all but loopback need TLS")
    parser.add_argument("--certificate", type=Path, help="PEM file of the certificate and its chain")
    parser.add_argument("--key", type=Path, help="PEM file of its private key")
    return parser


if __name__ == "__main__":
    sys.exit(main())
