"""What is written is read back equal; anything else is refused with the file's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from modnet.errors import DatasetError
from modnet.evaluation.scores_file import read_scores, write_scores
from modnet.records import ImageScore, Scores

SCORES = Scores(
    split="val",
    protocol="aspect",
    images=1,
    errors={"mse": 0.1, "mad": 1 / 3, "unknown_grad": 12345.6789},
    per_image=(ImageScore(stem="a", errors={"mse": 0.1, "mad": 1 / 3, "unknown_grad": 12345.6789}),),
)


def test_read_scores_gives_what_was_written(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.json", SCORES)
    assert read_scores(tmp_path / "scores.json") == SCORES


def test_read_scores_raises_when_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none\.json cannot be read: No such file"):
        read_scores(tmp_path / "none.json")


@pytest.mark.parametrize("content", ["", "{}", '{"split": "val", "mse": 2}'], ids=["empty", "no scores", "too large"])
def test_read_scores_raises_and_names_the_file_when_it_is_something_else(tmp_path: Path, content: str) -> None:
    (tmp_path / "other.json").write_text(content)
    with pytest.raises(DatasetError, match=r"other\.json holds no scores of `modnet evaluate --scores`: "):
        read_scores(tmp_path / "other.json")
