"""How far a request comes on its way to store and ingest, and what time it is there."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import urllib.error
import urllib.request
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from infra.device.cli.findings import NOTE, OK, WRONG, Finding

_WITHIN_S = 10.0
_REFUSED_FROM_S = 15 * 60  # off by more, store and ingest refuse every request
_WRONG_FROM_S = 60
_PORTS = {"http": 80, "https": 443}


def network_finding(about: str, url: str) -> Finding:
    """Resolves, connects, and begins TLS: says which of them fails."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 443)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(host):
        return Finding(about, NOTE, f"{url}: goes through the proxy {proxy}, so the way behind it is not looked at")
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]
    except (OSError, UnicodeError) as error:
        return Finding(about, WRONG, f"{host}: has no address ({error}): check its name and this machine's DNS")
    try:
        context = _context()
    except OSError as error:  # also an SSLError: it is no certificate
        return Finding(about, WRONG, f"ca_bundle {os.environ.get('AWS_CA_BUNDLE')}: cannot be used ({error})")
    try:
        with socket.create_connection((host, port), timeout=_WITHIN_S) as connection:
            if parts.scheme == "https":
                context.wrap_socket(connection, server_hostname=host).close()
    except (ssl.SSLError, ssl.CertificateError) as error:
        return Finding(
            about,
            WRONG,
            f"{host} port {port}: TLS fails ({error}): set ca_bundle where your own authority has signed the "
            "certificate, and check the clock of this machine",
        )
    except OSError as error:
        return Finding(
            about, WRONG, f"{host} ({address}) port {port}: no connection ({error}): is it on, is a firewall between?"
        )
    return Finding(about, OK, f"{host} ({address}) port {port}{', TLS' * (parts.scheme == 'https')}")


def clock_finding(url: str, now: datetime | None = None) -> Finding:
    """This machine's clock beside the header `Date` of an answer."""
    try:
        there = _date(url)
    except (OSError, http.client.HTTPException, ValueError, TypeError) as error:
        return Finding("clock", NOTE, f"not compared: {url} does not say what time it is ({error})")
    here = now or datetime.now(timezone.utc)
    off_s = (here - there).total_seconds()
    words = f"{here:%Y-%m-%d %H:%M:%S} UTC here, {there:%Y-%m-%d %H:%M:%S} at {url}"
    if abs(off_s) >= _REFUSED_FROM_S:
        return Finding("clock", WRONG, f"{words}: every request is refused; set it, or let systemd-timesyncd or chrony")
    if abs(off_s) >= _WRONG_FROM_S:
        return Finding("clock", NOTE, f"{words}: it drifts; let systemd-timesyncd or chrony set it")
    return Finding("clock", OK, words)


def _date(url: str) -> datetime:
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=_context()))
    try:
        with opener.open(url, timeout=_WITHIN_S) as answer:
            date = answer.headers["Date"]
    except urllib.error.HTTPError as error:  # a refusal has a date as well
        with error:
            date = error.headers["Date"]
    return parsedate_to_datetime(date).astimezone(timezone.utc)  # `-0000` leaves it without a zone


def _context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or None)
