"""What stands between an agent and a service of the pipeline, and can do harm to what passes."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from infra.local_stack.ports import LOOPBACK

_NOT_PASSED_ON = {"connection", "transfer-encoding", "keep-alive"}
_TIMEOUT_S = 60.0


class Answer(NamedTuple):
    """One answer of a service; `is_cut`: only half of the body is sent, and the connection ends."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    is_cut: bool = False


Harm = Callable[[str, Answer], Answer]
"""(method and path, answer of the service) → what the agent gets."""


class Proxy:
    """Passes every request on, byte by byte, and its answer, unless `harm` is set.

    Attributes:
        port: on loopback.
        harm: what is done to answers; None: nothing.
        harmed: answers that were not passed on as they came.
        refused: answers 401 and 403 of the service.
    """

    def __init__(self, upstream: int) -> None:
        self.harm: Harm | None = None
        self.harmed = self.refused = 0
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answer = _asked(upstream, self.command, self.path, list(self.headers.items()), body)
                proxy.refused += answer.status in (401, 403)
                if (harm := proxy.harm) is not None:
                    before, answer = answer, harm(f"{self.command} {self.path}", answer)
                    proxy.harmed += answer != before
                self.send_response_only(answer.status)
                for name, value in answer.headers:
                    self.send_header(name, value)
                if self.command != "HEAD":  # whose answer says how long another would be
                    self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body[: len(answer.body) // 2] if answer.is_cut else answer.body)
                self.close_connection = self.close_connection or answer.is_cut

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815 - names of http.server

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # agents are killed while they read
        self.port: int = self._server.server_address[1]

    @contextmanager
    def serving(self) -> Iterator[Proxy]:
        """Answers until the block ends."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def _asked(port: int, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> Answer:
    """The service's answer to the very same request, its Host included: the signature is over it."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_TIMEOUT_S)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers:
            if name.lower() != "connection":
                connection.putheader(name, value)
        connection.endheaders(body or None)
        response = connection.getresponse()
        content = response.read()
        dropped = _NOT_PASSED_ON if method == "HEAD" else {*_NOT_PASSED_ON, "content-length"}
        kept = [(name, value) for name, value in response.getheaders() if name.lower() not in dropped]
        return Answer(response.status, kept, content)
    finally:
        connection.close()
