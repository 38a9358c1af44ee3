"""A flag whose help names range and default. Nothing heavy is imported here: help shall come at once."""

import argparse
from typing import Any

Flags = argparse._ActionsContainer  # a parser, or a group of its flags


def add_flag(flags: Flags, name: str, says: str, *, limits: str = "", without: str | None = None, **how: Any) -> None:
    """Adds a flag whose help ends with its range and its default; `how` is as `add_argument` takes it.

    Args:
        limits: the range in words; those of `how["type"]` where it has some.
        without: what happens without the flag, where that is not the value `how["default"]`.
    """
    usual = "off" if "action" in how else shown_default(how.get("default"))
    default = "required" if how.get("required") else f"default: {without or usual}"
    facts = [fact for fact in (limits or getattr(how.get("type"), "limits", ""), default) if fact]
    flags.add_argument(name, help=f"{says} ({'; '.join(facts)})".replace("%", "%%"), **how)


def shown_default(default: object) -> str:
    """A default as a person types it."""
    if default is None or default == ():
        return "none"
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, tuple | list):
        return ",".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)
