from __future__ import annotations

import json

import pytest

from infra.device.documents.pointer import Pointer
from infra.device.documents.trials import MAX_TRIALS, TrialRelease, Trials, trials_path
from infra.device.errors import ContractError, LaterVersionError
from infra.device.releases import parse_trials

ROOM = {"target": "cpu-fp32", "against": "a" * 12, "decide_by": "20261201T060000.000000Z"}


def on_trial(*digits: str) -> tuple[TrialRelease, ...]:
    return tuple(TrialRelease(digit * 12, digit * 64) for digit in digits)


TRIALS = Trials(releases=on_trial("1", "2"), **ROOM)


def test_trials_from_json_give_equal_trials_in_their_order() -> None:
    assert Trials.from_json(TRIALS.to_json()) == TRIALS
    assert TRIALS.release_ids == ("1" * 12, "2" * 12)
    assert trials_path("cpu-fp32") == "targets/cpu-fp32/trials.json"


def test_a_device_measures_each_as_if_it_replaced_what_runs_there() -> None:
    own = Pointer("cpu-fp32", "2" * 12, "2" * 64)  # it is pinned to one of them
    (other,) = TRIALS.beside(own)
    assert (other.release_id, other.manifest_sha256, other.replaces) == ("1" * 12, "1" * 64, "2" * 12)
    assert [one.replaces for one in TRIALS.beside(Pointer("cpu-fp32", "a" * 12, "a" * 64))] == ["a" * 12] * 2


@pytest.mark.parametrize("digits", ["", "11", "1a", "123456789"])
def test_trials_are_one_to_eight_each_once_and_not_what_runs(digits: str) -> None:
    with pytest.raises(ContractError, match=f"wanted 1 to {MAX_TRIALS}, each once, and not aaaaaaaaaaaa"):
        Trials(releases=on_trial(*digits), **ROOM)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("target", "../x"),
        ("against", "a" * 11),
        ("decide_by", "tomorrow"),
        ("published_at", ""),
        ("releases", {}),
        ("releases", [{"release_id": "1" * 12}]),
        ("releases", [{"release_id": "1" * 12, "manifest_sha256": "1" * 63}]),
        ("schema_version", 0),
        ("share", 1),
    ],
)
def test_malformed_trials_are_refused(field: str, value: object) -> None:
    members = json.loads(TRIALS.to_json()) | {field: value}
    with pytest.raises(ContractError, match="trials"):
        Trials.from_json(json.dumps(members).encode())


def test_trials_of_a_later_version_or_of_another_target_are_refused() -> None:
    later = json.loads(TRIALS.to_json()) | {"schema_version": 2}
    with pytest.raises(LaterVersionError):
        Trials.from_json(json.dumps(later).encode())
    with pytest.raises(ContractError, match="trials of target 'cpu-int8': got those of 'cpu-fp32'"):
        parse_trials(TRIALS.to_json(), "cpu-int8")
