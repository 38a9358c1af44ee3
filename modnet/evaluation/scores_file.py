"""Scores as a JSON file, so that a later evaluation can be compared image by image."""

from pathlib import Path

from pydantic import ValidationError

from modnet.errors import DatasetError
from modnet.files import write_atomically
from modnet.records import Scores


def write_scores(path: Path, scores: Scores) -> None:
    """Writes means and the errors of every image, indented; what was not measured is absent."""
    write_atomically(path, scores.model_dump_json(indent=1).encode())


def read_scores(path: Path) -> Scores:
    """Reads what `write_scores` wrote.

    Raises:
        DatasetError: missing, or no such file; names the file and the fields.
    """
    try:
        return Scores.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DatasetError(f"scores {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()[:5])
        raise DatasetError(f"{path} holds no scores of `modnet evaluate --scores`: {problems}") from error
