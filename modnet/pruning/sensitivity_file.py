"""Sensitivities in a local file that survives a kill at any moment: JSON lines, the question first.

Every measurement is on disk before the next one starts. What a kill cut off has no line end: it is left out when the
file is read and overwritten when the analysis goes on.
"""

import os
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from modnet.errors import PruningError
from modnet.files import write_atomically
from modnet.pruning.sensitivity_results import merge_sensitivities, require_same_question
from modnet.records import ImageSensitivity, Record, Sensitivities, SensitivityQuestion

Kind = TypeVar("Kind", bound=Record)


def resume_sensitivities(path: Path, question: SensitivityQuestion) -> Sensitivities:
    """What `path` already knows; afterwards the file ends with a whole line, and is there.

    Raises:
        PruningError: the file holds something else, or answers another question.
    """
    header = _line(question)
    content = path.read_bytes() if path.exists() else b""
    if len(content) < len(header) and header.startswith(content):  # new, or killed while the question was written
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, header)
        return Sensitivities(question=question, measurements=())
    found = read_sensitivities(path)
    require_same_question(question, found.question, f"this analysis and {path}")
    os.truncate(path, content.rfind(b"\n") + 1)
    return found


def append_sensitivity(path: Path, measurement: ImageSensitivity) -> None:
    """Adds a line and waits until it is on disk."""
    with path.open("ab") as file:
        file.write(_line(measurement))
        file.flush()
        os.fsync(file.fileno())


def read_sensitivities(path: Path) -> Sensitivities:
    """What the whole lines of a file say; several of one group and image become one.

    Raises:
        PruningError: there is no such file, or a line of it is no measurement; names the line.
    """
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError as error:
        raise PruningError(f"{path}: no such file of sensitivities") from error
    if not lines:
        raise PruningError(f"{path} holds no sensitivities")
    question = _read(SensitivityQuestion, lines[0], f"{path}, line 1")
    measurements = [_read(ImageSensitivity, line, f"{path}, line {n}") for n, line in enumerate(lines[1:], start=2)]
    return merge_sensitivities([Sensitivities(question=question, measurements=tuple(measurements))])


def write_sensitivities(path: Path, sensitivities: Sensitivities) -> None:
    """Replaces `path` by a file with all of `sensitivities`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, b"".join(map(_line, (sensitivities.question, *sensitivities.measurements))))


def _read(kind: type[Kind], line: bytes, where: str) -> Kind:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"])) or "line"
        raise PruningError(f"{where}, is not of a file of sensitivities: {field}: {problem['msg']}") from error


def _line(record: Record) -> bytes:
    return record.model_dump_json().encode() + b"\n"
