"""What runs of `benchmarks.retraining` have left, in one folder."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from benchmarks.inputs import RESULTS, UNPRUNED, Json
from benchmarks.latency.tables import REFERENCE, Ratio, median_of_ratios
from modnet.files import write_atomically
from modnet.records import Scores

RETRAINING = RESULTS / "retraining"
BASE = "base"  # the unpruned network's scores stand beside the others'
LATENCY = "latency"  # samples of `benchmarks.latency` with the plans of the sizes


class Latency(NamedTuple):
    """Of a network's INT8 form, float parts in f32: how many times the reference's speed, and the time that follows.

    Its own median is of moments that were fast or slow; the ratio is of rounds, which all networks share.
    """

    milliseconds: float
    faster: Ratio


class Results(NamedTuple):
    """A folder with one JSON for each run that is done."""

    folder: Path

    def path(self, name: str) -> Path:
        """Of a run's JSON."""
        return self.folder / f"{name}.json"

    def has(self, name: str) -> bool:
        """Whether a run is done."""
        return self.path(name).exists()

    def read(self, name: str) -> Json:
        """What a run has left: conditions, `parameters`, `macs`, and scores of every image by split."""
        result: Json = json.loads(self.path(name).read_text())
        return result

    def write(self, name: str, content: Json) -> None:
        """Makes a run done."""
        write_atomically(self.path(name), json.dumps(content, indent=1).encode() + b"\n")

    def by_cost(self, names: Iterable[str]) -> list[tuple[str, Json]]:
        """Those of the runs that are done, the costliest first."""
        found = [(name, self.read(name)) for name in names if self.has(name)]
        return sorted(found, key=lambda one: -one[1]["macs"])

    def int8_latency(self, name: str) -> Latency | None:
        """Of a network that was timed, otherwise None."""
        rows = self.read(LATENCY)["rows"] if self.has(LATENCY) else {}
        row = rows.get(f"{UNPRUNED if name == BASE else name} cpu-int8, f32")
        if row is None:
            return None
        reference = rows[REFERENCE]["samples_ms"]
        faster = median_of_ratios(reference, row["samples_ms"])
        return Latency(statistics.median(reference) / faster.value, faster)

    def val(self, name: str) -> Scores:
        """A run's scores on val."""
        return scores_of(self.read(name), "val")


def scores_of(result: Json, split: Literal["tune", "val"]) -> Scores:
    """Scores on a split of what a run has left, today or by version 0.1.0."""
    return Scores.model_validate(result[split])
