"""The tables of a run say what was measured, and nothing where nothing was."""

from __future__ import annotations

from modnet.configs import PruningConfig, RetrainConfig
from modnet.records import (
    Candidate,
    Choice,
    Complexity,
    Failure,
    HostLatencies,
    ImageScore,
    MattingScores,
    NetworkScores,
    StoredFile,
)
from tasks.leaderboard import network_rows

COST = Complexity(parameters=1_000_000, macs=2_000_000_000, size=512)


def network(name: str, *errors: float, sad: float | None = None) -> NetworkScores:
    images = tuple(ImageScore(stem=str(number), mse=error, mad=error) for number, error in enumerate(errors))
    mean = sum(errors) / len(errors)
    scores = MattingScores(
        split="val", protocol="seed", images=len(images), mse=mean, mad=mean, sad=sad, per_image=images
    )
    tune = scores.model_copy(update={"split": "tune"})
    return NetworkScores(network_id=name, tune=tune, val=scores, complexity=COST, size_bytes=4_000_000, seconds=1)


def test_network_rows_say_how_much_worse_than_unpruned_each_is_and_leave_open_what_was_not_measured() -> None:
    candidate = Candidate(
        candidate_id="c",
        base_id="b",
        parent_id="b",
        dataset_id="d",
        pruning=PruningConfig(),
        retrain=RetrainConfig(),
        seed=0,
        pruned=StoredFile(key="c.safetensors", sha256="0" * 64, size_bytes=1),
        complexity=COST,
    )
    rows = network_rows(
        network("b", 0.125, 0.25),
        [network("c", 0.25, 0.375, sad=1.5)],
        {"c": candidate},
        HostLatencies(host="here", median_ms={"c": 12.25}),
        Choice(winner="c", front=("c",), reasons={"c": "the only one"}),
        [Failure(candidate_id="f", label="too much", reason="nothing was left")],
    )
    assert [row["verdict"] for row in rows][1:] == ["winner; the only one", "failed: nothing was left"]
    difference = [row["val MSE more than unpruned, 95 %"] for row in rows]
    assert difference == ["+0.00000 to +0.00000", "+0.12500 to +0.12500", ""]
    assert [row["val SAD k"] for row in rows] == ["", "1.500", ""]
    assert [row["val MSE ratio"] for row in rows] == ["1.00", "1.67", ""]
