"""Why a request is not done, as it is answered."""

from __future__ import annotations


class RefusedError(Exception):
    """An answer other than that the report is stored; devices tell them apart by status and code.

    Attributes:
        status: of HTTP.
        code: one word.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code
