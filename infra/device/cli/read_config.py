"""The agent's settings: one TOML file, variables of the environment, or both.

A variable `MODNET_AGENT_<KEY>` goes before the file's key, and that before the default. AWS_* variables that are set
go before both. Paths in the file start at its folder.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Callable, NamedTuple

from infra.device.agent.settings import RuntimeSettings
from infra.device.cli.config import MOST_BYTES, AgentConfig
from infra.device.documents.checks import check_name
from infra.device.documents.grant import MOST_TARGETS
from infra.device.errors import ContractError, SettingsError
from infra.device.files.local_errors import local_errors
from infra.device.measuring.request import MOST_RUNS

FOLDER = Path("/var/lib/modnet-agent")
FILE = FOLDER / "agent.toml"
PREFIX = "MODNET_AGENT_"
_MOST_TEXT = 2000
_MOST_NAMES = MOST_TARGETS
_SHOWN = 80


class Key(NamedTuple):
    """One setting.

    Attributes:
        says: what it is, for help.
        wanted: its values, for errors.
        accepts: whether a value of TOML is one of them.
        of_text: that value of a variable or a flag.
        is_path: it starts at the file's folder.
    """

    says: str
    wanted: str
    accepts: Callable[[Any], bool]
    of_text: Callable[[str], Any] = str
    is_path: bool = False


def is_name(value: Any) -> bool:
    """It can stand as one part of a key of the store."""
    try:
        return isinstance(value, str) and check_name("name", value) == value
    except ContractError:
        return False


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MOST_TEXT and value.isprintable()


def _is_seconds(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 1e6


def _whole(least: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= MOST_RUNS


def _are_names(value: Any) -> bool:
    is_list = isinstance(value, list) and 0 < len(value) <= _MOST_NAMES and all(map(is_name, value))
    return is_list and len(set(value)) == len(value)


def _number(text: str) -> Any:
    """The number that a text says, else the text, which no key of a number accepts."""
    for number in (int, float):
        try:
            return number(text) if text.isascii() else text
        except ValueError:
            continue
    return text


_NAME = "1 to 128 of A-Z a-z 0-9 . _ -, the first a letter or digit"
_TEXT = f"a text of 1 to {_MOST_TEXT} characters"
_SECONDS = "a number of seconds above 0, at most 1000000"
_NAMES = f"a list of 1 to {_MOST_NAMES} names of targets, each once, as cpu-int8"
KEYS = {
    "device": Key("name of this device in its reports", _NAME, is_name),
    "store": Key("s3://bucket[/prefix] or file:///folder", _TEXT, _is_text),
    "root": Key("file: root.json of whoever signs this store's releases", _TEXT, _is_text, is_path=True),
    "work_folder": Key("folder for spool, downloads and memory of the agent", _TEXT, _is_text, is_path=True),
    "ingest": Key("https://host[:port] that takes the reports; not needed with file:///folder", _TEXT, _is_text),
    "endpoint": Key("address of the store's S3 server; not needed with AWS's own", _TEXT, _is_text),
    "region": Key("of the store", _TEXT, _is_text),
    "ca_bundle": Key("PEM file of your own authority, for store and ingest", _TEXT, _is_text, is_path=True),
    "key_file": Key("file: the device's key, as AWS's tools write it, mode 600", _TEXT, _is_text, is_path=True),
    "targets": Key("what is measured, as cpu-int8", _NAMES, _are_names, lambda text: text.split(",")),
    "interval_s": Key("seconds between rounds", _SECONDS, _is_seconds, _number),
    "load_s": Key("longest seconds to start and load a network", _SECONDS, _is_seconds, _number),
    "inference_s": Key("longest seconds for one inference", _SECONDS, _is_seconds, _number),
    "warm_up": Key("inferences not counted, at least", f"a whole number from 0 to {MOST_RUNS}", _whole(0), _number),
    "repeats": Key("inferences counted", f"a whole number from 1 to {MOST_RUNS}", _whole(1), _number),
    "threads": Key("inference threads, on the CPU", f"a whole number from 1 to {MOST_RUNS}", _whole(1), _number),
}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OF_RUNTIME = {
    "name": Key("", _NAME, is_name),
    "targets": KEYS["targets"],
    "python": Key("", "the absolute path of an interpreter", lambda value: _is_text(value) and value.startswith("/")),
    "environ": Key(
        "",
        "a table of variables, each a text",
        lambda value: (
            isinstance(value, dict)
            and all(_VARIABLE.fullmatch(name) and _is_text(text) for name, text in value.items())
        ),
    ),
}


def config_path(environ: Mapping[str, str] = os.environ) -> Path:
    """The file of the settings, where no flag names another."""
    return Path(environ.get(f"{PREFIX}CONFIG") or FILE)


def read_config(path: Path | None, environ: Mapping[str, str] = os.environ) -> AgentConfig:
    """The settings in a file and in the environment.

    Args:
        path: of the file; None is MODNET_AGENT_CONFIG, else FILE where there is one.
        environ: the variables.

    Raises:
        SettingsError: names each key that is wrong, what it got and what it wanted.
    """
    path = path or config_path(environ)
    path = None if path == FILE and not FILE.exists() else path
    if path is None and not any(name.startswith(PREFIX) for name in environ):
        raise SettingsError(f"{FILE}: not there; `enrol` writes it, --config names another, and {PREFIX}* do without")
    known = {f"{PREFIX}{key.upper()}": key for key in KEYS}
    texts = {name: text for name, text in environ.items() if name.startswith(PREFIX) and name != f"{PREFIX}CONFIG"}
    wrong = [f"{name}: unknown, wanted one of {', '.join(known)}" for name in texts if name not in known]
    of_texts = {known[name]: (name, text) for name, text in texts.items() if name in known}
    return _config(path, {} if path is None else _toml(path), of_texts, wrong)


def config_of_flags(texts: Mapping[str, str]) -> AgentConfig:
    """The settings that flags give, by key; neither file nor variables are read.

    Raises:
        SettingsError: as `read_config`.
    """
    of_texts = {key: (f"--{key.replace('_', '-')}", text) for key, text in texts.items()}
    return _config(None, {}, of_texts, [], where="flags")


def _config(
    path: Path | None,
    of_file: dict[str, Any],
    of_texts: Mapping[str, tuple[str, str]],
    wrong: list[str],
    where: str = "",
) -> AgentConfig:
    tables, values = of_file.pop("runtime", []), {}
    wrong += _wrong(str(path), of_file, KEYS)
    for key, value in of_file.items():
        if key in KEYS and key not in of_texts:
            values[key] = value
    for key, (name, text) in of_texts.items():
        values[key] = KEYS[key].of_text(text)
        if not KEYS[key].accepts(values[key]):
            wrong.append(f"{name}: got {text[:_SHOWN]!r}, wanted {KEYS[key].wanted}")
    where = where or str(path or f"no file, and {PREFIX}* variables")
    if "targets" in values and tables:
        wrong.append(f"{where}: got targets and [[runtime]], wanted one of them")
    runtimes = _runtimes(str(path), tables, wrong) if tables else []
    if "targets" in values:
        runtimes = [RuntimeSettings("this", targets=tuple(values.pop("targets")))]
    needed = [key for key in ("device", "store", "root", "work_folder") if key not in values]
    needed += [] if runtimes or tables else ["targets"]
    needed += ["ingest"] if str(values.get("store", "")).startswith("s3://") and "ingest" not in values else []
    wrong += [f"{where}: {key} is missing, wanted {KEYS[key].says}" for key in needed]
    if wrong:
        raise SettingsError("; ".join(wrong))
    paths = {}
    for key in [key for key in values if KEYS[key].is_path]:
        try:
            local = Path(values[key]).expanduser()
        except RuntimeError as error:
            raise SettingsError(f"{where}: {key}: got {values[key][:_SHOWN]!r}: {error}") from error
        paths[key] = path.parent / local if path and key not in of_texts else local
    return AgentConfig(runtimes=tuple(runtimes), **{**values, **paths})


def _wrong(where: str, table: Mapping[str, Any], keys: Mapping[str, Key]) -> list[str]:
    """What is wrong with the keys of a table."""
    unknown = [f"{where}: {key[:_SHOWN]}: unknown, wanted one of {', '.join(keys)}" for key in table if key not in keys]
    return unknown + [
        f"{where}: {key}: got {_shown(value)}, wanted {keys[key].wanted}"
        for key, value in table.items()
        if key in keys and not keys[key].accepts(value)
    ]


def _shown(value: Any) -> str:
    try:
        return repr(value)[:_SHOWN]
    except ValueError:  # Python writes no number of thousands of digits, and TOML may have one
        return f"a {type(value).__name__} too long to write"


def _runtimes(where: str, tables: Any, wrong: list[str]) -> list[RuntimeSettings]:
    if not (isinstance(tables, list) and len(tables) <= _MOST_NAMES and all(isinstance(one, dict) for one in tables)):
        wrong.append(f"{where}: runtime: got {_shown(tables)}, wanted tables, each as [[runtime]]")
        return []
    runtimes: list[RuntimeSettings] = []
    for number, table in enumerate(tables, 1):
        this = f"{where}: [[runtime]] {number}"
        found = _wrong(this, table, _OF_RUNTIME)
        found += [f"{this}: {key} is missing" for key in ("name", "targets") if key not in table]
        if not found and table["name"] in {runtime.name for runtime in runtimes}:
            found.append(f"{this}: name: got {table['name']!r} a second time, wanted a name for each")
        wrong += found
        if not found:
            python = {"python": Path(table["python"])} if "python" in table else {}
            runtimes.append(RuntimeSettings(**{**table, **python, "targets": tuple(table["targets"])}))
    return runtimes


def _toml(path: Path) -> dict[str, Any]:
    try:
        toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")  # tomli is in the agent's file
    except ModuleNotFoundError as error:
        raise SettingsError(f"{path}: {error}; install tomli with pip, or take the agent as one file") from error
    with local_errors(str(path)):
        try:
            with open(path, "rb") as file:
                data = file.read(MOST_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise SettingsError(f"{path}: wanted the settings of the agent: {error}; `enrol` writes them") from error
    if len(data) > MOST_BYTES:
        raise SettingsError(f"{path}: has more than {MOST_BYTES} bytes, which no settings have")
    try:
        return dict(toml.loads(data.decode()))
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: got what is no TOML, or is cut off: {error}") from error
