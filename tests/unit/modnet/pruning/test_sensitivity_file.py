"""A file of sensitivities after a kill at any byte."""

from pathlib import Path

import pytest

from modnet.errors import PruningError
from modnet.pruning.sensitivity_file import (
    append_sensitivity,
    read_sensitivities,
    resume_sensitivities,
    write_sensitivities,
)
from modnet.records import ImageSensitivity, SensitivityQuestion

QUESTION = SensitivityQuestion(
    network_sha256="0" * 64,
    data_sha256="1" * 64,
    images=("ann", "bob"),
    short_side=256,
    ranking="l1, sum",
    metric="error",
)
MEASUREMENTS = tuple(
    ImageSensitivity(group=group, image=image, baseline=0.1, errors={0.1: 0.125, 0.9: 1 / 3})
    for image in QUESTION.images
    for group in ("stem", "last")
)


def written(path: Path) -> bytes:
    resume_sensitivities(path, QUESTION)
    for measurement in MEASUREMENTS:
        append_sensitivity(path, measurement)
    return path.read_bytes()


def test_resume_gives_an_equal_file_when_killed_after_any_byte(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "sensitivities.jsonl"
    whole = written(path)
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        known = resume_sensitivities(path, QUESTION).measurements
        assert known == MEASUREMENTS[: max(0, whole[:length].count(b"\n") - 1)]
        for measurement in MEASUREMENTS[len(known) :]:
            append_sensitivity(path, measurement)
        assert path.read_bytes() == whole


def test_read_leaves_out_what_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "sensitivities.jsonl"
    path.write_bytes(written(path)[:-1])
    assert read_sensitivities(path).measurements == MEASUREMENTS[:-1]


def test_read_joins_ratios_that_were_measured_later(tmp_path: Path) -> None:
    path = tmp_path / "sensitivities.jsonl"
    written(path)
    append_sensitivity(path, MEASUREMENTS[0].model_copy(update={"errors": {0.5: 0.2}}))
    assert read_sensitivities(path).measurements[0].errors == {0.1: 0.125, 0.9: 1 / 3, 0.5: 0.2}


def test_write_is_read_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "sensitivities.jsonl"
    written(path)
    found = read_sensitivities(path)
    write_sensitivities(tmp_path / "merged.jsonl", found)
    assert read_sensitivities(tmp_path / "merged.jsonl") == found


def test_resume_raises_and_keeps_the_file_when_the_question_is_another(tmp_path: Path) -> None:
    path = tmp_path / "sensitivities.jsonl"
    whole = written(path)
    with pytest.raises(PruningError, match=r"sensitivities.jsonl answer different questions: short_side: 128 and 256"):
        resume_sensitivities(path, QUESTION.model_copy(update={"short_side": 128}))
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG of a portrait", "holds no sensitivities"),
        (b"[]\n", r"line 1, is not of a file of sensitivities"),
        (QUESTION.model_dump_json().encode() + b"\n{}\n", "line 2, is not of a file of sensitivities: group"),
    ],
    ids=["other file", "no question", "damaged line"],
)
def test_resume_raises_and_keeps_the_file_when_it_is_something_else(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "sensitivities.jsonl"
    path.write_bytes(content)
    with pytest.raises(PruningError, match=message):
        resume_sensitivities(path, QUESTION)
    assert path.read_bytes() == content


def test_read_raises_when_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(PruningError, match="no such file"):
        read_sensitivities(tmp_path / "nothing.jsonl")
