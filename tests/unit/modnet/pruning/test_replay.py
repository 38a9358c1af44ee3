"""A run again gives what was recorded as far as nothing changed, and what is computed anew from there on."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from modnet.pruning.replay import Replay


@pytest.fixture
def x() -> Tensor:
    return torch.arange(24.0).reshape(1, 4, 2, 3)


def recorded(replay: Replay, x: Tensor) -> Tensor:
    with torch.no_grad(), replay.recording():
        return F.relu(x - 3)


def test_replay_gives_the_recorded_tensor_when_arguments_are_the_same(x: Tensor) -> None:
    replay = Replay([x])
    first = recorded(replay, x)
    with replay:
        assert F.relu(x - 3) is first


@pytest.mark.parametrize(
    "again",
    [lambda x: F.relu(x - 4), lambda x: F.relu(x.clone().detach() - 3), lambda x: F.relu(x - 3.0)],
    ids=["other number", "equal tensor", "other type of number"],
)
def test_replay_computes_when_an_argument_is_another(x: Tensor, again) -> None:
    replay = Replay([x])
    first = recorded(replay, x)
    wanted = again(x)
    with replay:
        found = again(x)
    assert found is not first
    assert torch.equal(found, wanted)


def test_replay_computes_when_a_given_tensor_was_written_to(x: Tensor) -> None:
    replay = Replay([x])
    recorded(replay, x)
    x += 10
    with replay:
        assert torch.equal(F.relu(x - 3), F.relu(x.clone() - 3))


def test_replay_is_right_when_the_run_works_in_place(x: Tensor) -> None:
    def run() -> Tensor:
        value = x * 2
        value += 1
        return value * 3

    replay = Replay([x])
    with replay.recording():
        run()
    with replay:
        assert torch.equal(run(), 3 * (2 * x + 1))
        assert torch.equal(run(), 3 * (2 * x + 1))


def test_replay_does_not_record_when_run_again(x: Tensor) -> None:
    replay = Replay([x])
    with replay:
        assert (x * 2) is not (x * 2)
