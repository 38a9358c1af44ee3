"""`unit`: the systemd unit of the agent, with the paths of this machine."""

from __future__ import annotations

import pkgutil
import sys
from pathlib import Path

from infra.device.errors import SettingsError

_NAME = "modnet-agent.service"
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")
_ESCAPED = {"%": "%%", "$": "$$"}  # what systemd would replace


def unit_text(config: Path) -> str:
    """The unit that starts this agent by this Python with these settings.

    Raises:
        SettingsError: the agent is not the one file, or a path has a blank, which systemd would cut.
    """
    agent = Path(sys.argv[0]).absolute()
    if agent.suffix != ".pyz":
        raise SettingsError(f"{agent}: wanted the agent as one file, as modnet-agent.pyz; `make agent` makes it")
    text = (pkgutil.get_data("infra.device.cli", _NAME) or b"").decode()
    for word, path in (("@PYTHON@", Path(sys.executable)), ("@AGENT@", agent), ("@CONFIG@", config.absolute())):
        if not str(path).isprintable() or any(character in str(path) for character in " \"'\\"):
            raise SettingsError(f"{str(path)!r}: wanted a path without blanks, quotes and backslashes")
        if any(str(path).startswith(f"{hidden}/") for hidden in _HIDDEN):
            raise SettingsError(f"{path}: wanted it elsewhere: the unit hides {', '.join(_HIDDEN)} from the agent")
        text = text.replace(word, "".join(_ESCAPED.get(character, character) for character in str(path)))
    return text
