"""Text from outside as it may be shown: nothing in it moves a cursor, begins a line or turns round what is read."""

from __future__ import annotations

import argparse
import logging
import unicodedata
from typing import NoReturn

# Controls (ESC, newline, DEL …), formats (overrides of the writing direction, zero width), halves of surrogate pairs,
# and the two separators that end a line.
_UNSHOWN = ("Cc", "Cf", "Cs", "Zl", "Zp")


def shown(text: object) -> str:
    """One line: every control and format character of `text` becomes its escape, and the rest stays as it is.

    For whatever comes from a file, a device, a store or a runtime and goes to a terminal, a log, a table or a page.
    HTML is escaped after this.

    >>> shown("broken\\x1b[2J\\nnext \\u202e")
    'broken\\\\x1b[2J\\\\nnext \\\\u202e'
    """
    line = str(text)
    if line.isprintable():
        return line
    return "".join(
        character.encode("unicode_escape").decode("ascii") if unicodedata.category(character) in _UNSHOWN else character
        for character in line
    )


def shown_lines(text: object) -> str:
    """`shown` for text of ours that has lines, as a traceback or a table: line ends and tabs stay."""
    return "\n".join("\t".join(map(shown, line.split("\t"))) for line in str(text).split("\n"))


class ShownParser(argparse.ArgumentParser):
    """Repeats what was typed, names of files among it, with control characters escaped."""

    def error(self, message: str) -> NoReturn:
        super().error(shown(message))


class ShownFormatter(logging.Formatter):
    """Writes each message of a log on one line, see `shown`; a traceback below it keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name that logging calls
        record.message = shown(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:  # noqa: N802 - the name that logging calls
        return shown_lines(super().formatException(ei))  # type: ignore[arg-type]
