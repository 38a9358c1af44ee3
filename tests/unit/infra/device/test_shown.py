from __future__ import annotations

import logging
import sys

import pytest

from infra.device.shown import ShownFormatter, shown, shown_lines


@pytest.mark.parametrize(
    ("outside", "wanted"),
    [
        ("Müller’s Pi 4 – 日本語 🙂", "Müller’s Pi 4 – 日本語 🙂"),
        ("\x1b[31mred\x1b]0;title\x07", r"\x1b[31mred\x1b]0;title\x07"),
        ("end\r\nforged\u2028line\u2029", r"end\r\nforged\u2028line\u2029"),
        ("tab\tnul\0del\x7fc1\x9b", r"tab\tnul\x00del\x7fc1\x9b"),
        ("mod\u202elecxe.png\u2066\u200e", r"mod\u202elecxe.png\u2066\u200e"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("half \ud800 and a name that is no UTF-8 \udcff", r"half \ud800 and a name that is no UTF-8 \udcff"),
        (7, "7"),
    ],
)
def test_shown_escapes_what_is_no_visible_character(outside: object, wanted: str) -> None:
    assert shown(outside) == wanted
    assert shown(wanted) == wanted
    shown(outside).encode()


def test_shown_lines_keeps_the_ends_of_lines_and_tabs_of_text_that_is_ours() -> None:
    assert shown_lines("a\n\tb\x1b\r\nc") == "a\n\tb\\x1b\\r\nc"


def test_shown_formatter_keeps_a_message_on_one_line_and_a_traceback_below_it() -> None:
    try:
        raise ValueError("bad\x1b")
    except ValueError:
        record = logging.LogRecord("name", logging.ERROR, "", 0, "got %s", ("a\nb",), sys.exc_info())
    text = ShownFormatter("%(levelname)s %(message)s").format(record)
    assert text.startswith("ERROR got a\\nb\nTraceback (most recent call last):\n")
    assert text.endswith("ValueError: bad\\x1b")
