"""What `doctor` has found: one line each."""

from __future__ import annotations

from typing import NamedTuple

OK, NOTE, WRONG = "ok", "note", "NOT OK"


class Finding(NamedTuple):
    """One line.

    Attributes:
        about: what was looked at, a word or two.
        state: OK; NOTE, which may make numbers worse and stops nothing; or WRONG.
        words: what was found, and what to do about it.
    """

    about: str
    state: str
    words: str
