"""The replay of a search on candidates that are trained already."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from benchmarks import search
from benchmarks.making.search_curves import SPACE
from benchmarks.search import by_chance, by_list, by_search, halving_alone, read_curves
from modnet.errors import ConfigError
from tasks.search_proposals import propose

COUNT, EPOCHS = 18, 9


@pytest.fixture
def curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, search.Curve]:
    """Made-up ones: more MACs err less, Taylor errs less, and whoever is better in the end is so from the start."""
    for number in range(COUNT):
        parameters = dict(propose(SPACE, [], 0, number))
        final = 1 + 2 / parameters["gmacs"] + (0.3 if parameters["criterion"] == "l1" else 0.0)
        errors = [0.01 * final * (1 + 2 / (epoch + 1)) for epoch in range(EPOCHS)]
        told = {
            "parameters": parameters,
            "base_error": 0.01,
            "latency_ratio": parameters["gmacs"] / 18,
            "errors": errors,
        }
        (tmp_path / f"{number:02d}.json").write_text(json.dumps(told))
    (tmp_path / "98.json").write_text(json.dumps({"parameters": {}, "refused": "too small"}))
    monkeypatch.setattr(search, "CURVES", tmp_path)
    return read_curves()


def test_every_way_spends_what_it_says_and_ends_nobody_twice(curves: dict[str, search.Curve]) -> None:
    for spent in (by_chance(curves, 0), by_search(curves, 0, is_halved=False), by_search(curves, 0, is_halved=True)):
        steps = list(spent)
        ended = [name for _, name in steps if name]
        assert len(set(ended)) == len(ended)
        assert sum(epochs for epochs, _ in steps) <= COUNT * EPOCHS
    assert sum(epochs for epochs, _ in by_chance(curves, 0)) == COUNT * EPOCHS
    assert len(list(by_list(curves))) == 3


def test_halving_trains_less_than_half_and_keeps_what_matters(curves: dict[str, search.Curve]) -> None:
    epochs, volume = halving_alone(curves, random.Random(1).randint(0, 99))
    assert epochs < 0.5
    assert 0.5 < volume <= 1


def test_without_candidates_it_says_how_to_make_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "CURVES", tmp_path)
    with pytest.raises(ConfigError, match=r"no candidate is trained; see benchmarks\.making\.search_curves"):
        read_curves()
