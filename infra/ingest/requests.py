"""What is read of a request: its headers, its length before its body, and no more of the body than that."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from infra.ingest.refusal import RefusedError

READ_WITHIN_S = 30.0


def header(request: Request, name: str) -> str:
    """A header that stands there once, and else an empty text, which no signature is right with."""
    values = request.headers.getlist(name)
    return values[0] if len(values) == 1 else ""


def length(request: Request, what: str, most: int) -> int:
    """Bytes of the body, as the request says.

    Raises:
        RefusedError: it does not say, or says more than `most`.
    """
    text = header(request, "content-length")
    if not (text.isascii() and text.isdigit()):
        raise RefusedError(411, "length", "wanted one Content-Length")
    if len(text) > 9 or int(text) > most:
        raise RefusedError(413, "large", f"{what}: has {text[:20]} bytes, wanted at most {most}")
    return int(text)


async def body(request: Request, size_bytes: int) -> bytes:
    """The body of so many bytes.

    Raises:
        RefusedError: it has more, or ends before, or is too slow.
    """
    read = bytearray()
    try:
        async with asyncio.timeout(READ_WITHIN_S):
            async for chunk in request.stream():
                read += chunk
                if len(read) > size_bytes:
                    raise RefusedError(400, "cut", f"body: has more than the {size_bytes} bytes of Content-Length")
    except (ClientDisconnect, TimeoutError) as error:
        raise RefusedError(400, "cut", f"body: ends after {len(read)} of {size_bytes} bytes") from error
    return bytes(read)


def refusal(status: int, code: str, message: str) -> JSONResponse:
    """An answer that ends the connection, so that nobody reads the rest of a body."""
    return JSONResponse({"error": code, "message": message}, status, {"Connection": "close"})
