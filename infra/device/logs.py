"""Lines of a log: text, or with `MODNET_LOG=json` one JSON object each, which says what it is about.

| member | of |
|---|---|
| `time` (UTC), `level`, `logger`, `message`, `node`, `pid` | every line |
| `error` | a line with a traceback |
| `run_id`, `stage`, `computation` | a run: the flow run that was started, the flow, and the task or computation |
| `device` | an agent |
"""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timezone
from types import MappingProxyType

from infra.device.shown import ShownFormatter

process_fields: dict[str, str] = {}
"""Members of every line of this process."""

# How Prefect's loggers call them (`get_run_logger`), which lie on the record.
_OF_PREFECT = {"flow_run_id": "run_id", "flow_name": "stage", "task_run_name": "computation"}
_fields: ContextVar[Mapping[str, str]] = ContextVar("fields", default=MappingProxyType({}))


def log_formatter(text: str) -> logging.Formatter:
    """What writes lines as `MODNET_LOG` asks; `text` is the format of those that are no JSON."""
    return JsonLines() if _is_json() else ShownFormatter(text)


@contextmanager
def log_fields(**fields: str) -> Iterator[None]:
    """Within the block, each line of this thread has these members."""
    token = _fields.set({**_fields.get(), **fields})
    try:
        yield
    finally:
        _fields.reset(token)


def current_fields() -> dict[str, str]:
    """Members that `log_fields` gives to this thread's lines."""
    return dict(_fields.get())


def log_json_to_stderr() -> None:
    """With `MODNET_LOG=json`, has a process that has set up no log write its lines; else leaves it as it is."""
    if _is_json():
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonLines())
        logging.basicConfig(level=logging.INFO, handlers=[handler])


class JsonLines(logging.Formatter):
    """Writes each line of a log as one JSON object, in ASCII: nothing in it moves a cursor or begins a line."""

    def __init__(self, *_: object) -> None:  # what logging's own configuration, and so Prefect's, gives
        super().__init__()

    def format(self, record: logging.LogRecord) -> str:
        """The object, without a line end."""
        members = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "node": platform.node(),
            "pid": record.process,
            **{ours: str(vars(record)[theirs]) for theirs, ours in _OF_PREFECT.items() if theirs in vars(record)},
            **_fields.get(),
            **process_fields,
        }
        if (started_for := os.environ.get("PREFECT__FLOW_RUN_ID")) is not None:
            members["run_id"] = started_for  # and not the subflow that Prefect's logger names
        if record.exc_info:
            members["error"] = self.formatException(record.exc_info)
        return json.dumps(members)


def _is_json() -> bool:
    return os.environ.get("MODNET_LOG") == "json"
