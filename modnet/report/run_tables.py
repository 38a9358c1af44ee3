"""The tables of a run: networks, targets, layers of INT8, and the sentence of what was gained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, prod
from typing import TYPE_CHECKING

from modnet.configs.shape import shape_in
from modnet.evaluation.intervals import difference_interval
from modnet.records import (
    Choice,
    DatasetRecord,
    ExportRecord,
    Failure,
    HostLatencies,
    NetworkScores,
    Promotion,
    QuantisationDecision,
)
from modnet.targets import Target

if TYPE_CHECKING:
    from modnet.report.pictures import ParetoPoint

Row = dict[str, str]

Titles = Mapping[str, str]  # `Workload.errors`: names of errors with their titles; the first one decides


@dataclass(frozen=True)
class Outcome:
    """What a run found of its networks."""

    base: NetworkScores
    scores: Sequence[NetworkScores]  # of the retrained candidates
    labels: Mapping[str, str]  # of these, by network_id
    latencies: HostLatencies
    choice: Choice
    titles: Titles

    @property
    def winner(self) -> NetworkScores:
        """The candidate that was chosen."""
        return next(one for one in self.scores if one.network_id == self.choice.winner)


def network_rows(run: Outcome, failures: Sequence[Failure]) -> list[Row]:
    """One row per network, the unpruned first, then the fastest first, then what failed."""
    deciding_ms = run.latencies.deciding_ms
    rows = [_network_row(run, "unpruned", run.base, "what the others are compared with")]
    for one in sorted(run.scores, key=lambda one: (deciding_ms.get(one.network_id, inf), one.tune.error)):
        won = "winner; " if one is run.winner else ""
        rows.append(_network_row(run, run.labels[one.network_id], one, won + run.choice.reasons[one.network_id]))
    empty = dict.fromkeys(rows[0], "")
    rows += [empty | {"network": f.label, "id": f.candidate_id, "verdict": f"failed: {f.reason}"} for f in failures]
    return rows


def _network_row(run: Outcome, label: str, one: NetworkScores, verdict: str) -> Row:
    (deciding, title), *others = run.titles.items()
    base, latencies, cost = run.base, run.latencies, one.complexity
    # Errors are at the images' own size, whatever the network read.
    apart = difference_interval(one.val.model_copy(update={"protocol": base.val.protocol}), base.val, deciding)
    forms: dict[str, Target] = {"FP32": "cpu-fp32", "INT8": "cpu-int8"}
    return {
        "network": label,
        **{f"{form} ms": _number(latencies.p50_ms(one.network_id, target), ".1f") for form, target in forms.items()},
        **{
            f"{form} speedup": _number(latencies.speedup(one.network_id, target, base.network_id), ".2f")
            for form, target in forms.items()
        },
        f"tune {title} ratio": f"{one.tune.error / base.tune.error:.2f}" if base.tune.error else "",
        f"val {title} ratio": f"{one.val.error / base.val.error:.2f}" if base.val.error else "",
        "parameters M": f"{cost.parameters / 1e6:.3f}",
        "GMAC": f"{cost.macs / 1e9:.2f}",
        "input": one.input_shape,
        "GMAC of the input": f"{cost.macs * prod(shape_in(one.input_shape)) / cost.size**2 / 1e9:.2f}",
        "size MB": f"{one.size_bytes / 1e6:.2f}",
        "id": one.network_id,
        "verdict": verdict,
        f"tune {title}": f"{one.tune.error:.6f}",
        f"val {title}": f"{one.val.error:.6f}",
        f"val {title} more than unpruned, 95 %": f"{apart.low:+.5f} to {apart.high:+.5f}",
        **{f"val {other}": _number(one.val.errors.get(name), ".4g") for name, other in others},
    }


def what_was_gained(run: Outcome, export: ExportRecord) -> str:
    """One sentence: how much faster and smaller the winner is than the unpruned network, and how much more it errs."""
    base, winner, latencies = run.base, run.winner, run.latencies
    form, winner_id = latencies.deciding_form, winner.network_id
    milliseconds, before = latencies.p50_ms(winner_id, form), latencies.p50_ms(base.network_id, "cpu-fp32")
    speedup = latencies.speedup(winner_id, form, base.network_id)
    if speedup is None or milliseconds is None or before is None:
        speed = "was not timed"
    else:
        speed = (
            f"is {speedup:.1f} times as fast as the unpruned network on this machine ({milliseconds:.1f} ms as {form}, "
            f"{before:.1f} ms unpruned as cpu-fp32)"
        )
    share = winner.complexity.parameters / base.complexity.parameters
    times = f"{winner.val.error / base.val.error:.2f} times as much" if base.val.error else "more"
    deciding, title = next(iter(run.titles.items()))
    shipped, quantised = export.val.get(form), ""
    if form == "cpu-int8" and shipped is not None and (original := export.val["torch"][deciding]):
        quantised = f" Its INT8 form errs {shipped[deciding] / original:.2f} times as much as its float form."
    return (
        f"{run.labels[winner_id]} {speed}. It has {100 * share:.0f} % of its parameters and errs {times} on val "
        f"({title} {winner.val.error:.5f}, {base.val.error:.5f} unpruned).{quantised}"
    )


def target_rows(export: ExportRecord, titles: Titles, promotions: Sequence[Promotion] = ()) -> list[Row]:
    """One row for torch and each target of an export: what is not released and what is not promoted, with reasons."""
    verdicts = {name: f"not released: {reason}" for name, reason in export.refused.items()}
    for one in promotions:  # why a target runs the new one is in the log: a second run has another reason
        verdicts[one.target] = f"runs {one.release_id}" if one.is_moved else f"keeps {one.release_id}: {one.reason}"
    deciding, title = next(iter(titles.items()))
    original = export.val.get("torch", {}).get(deciding)
    rows = []
    for name in ("torch", *export.targets, *export.refused):
        errors = export.val.get(name, {})
        parity, tune_error = export.parity.get(name), export.tune_error.get(name)
        files = [export.files[one] for one in export.ir_files(name)] if name in export.targets else []
        checks = [
            f"{one.by}: {one.status}" for target, asked in export.legacy.items() if target == name for one in asked
        ]
        rows.append(
            {
                "target": name,
                **{f"val {titles[one]}": _number(errors.get(one), ".6f") for one in export.val.get("torch", {})},
                f"val {title} ratio": f"{errors[deciding] / original:.3f}" if errors and original else "",
                f"tune {title}": _number(tune_error, ".6f"),
                "mean difference of outputs": "" if parity is None else f"{parity:.1e}",
                "IR MB": f"{sum(file.size_bytes for file in files) / 1e6:.2f}" if files else "",
                "old runtimes": "; ".join(checks),
                "verdict": verdicts.get(name, ""),
            }
        )
    return rows


def target_note(export: ExportRecord) -> str:
    """What the rows of targets were measured by."""
    return (
        f"The winner's forms, as devices of the target run them. Protocol: {export.protocol}. Ratio and difference "
        "are to torch's outputs in the same protocol."
    )


def int8_rows(decision: QuantisationDecision) -> list[Row]:
    """One row per quantised layer, by the harm that its rounding does where that was measured."""
    return [
        {
            "layer": one.layer,
            "harm, tune error": "" if one.harm is None else f"{one.harm:+.2e}",
            "computes in": "8 bits" if one.error_when_put_back is None else "float",
            "tune error then": "" if one.error_when_put_back is None else f"{one.error_when_put_back:.6f}",
        }
        for one in decision.layers
    ]


def pareto_points(run: Outcome) -> list[ParetoPoint]:
    """Where each measured network stands in accuracy against latency; none where the unpruned network errs nowhere."""
    from modnet.report.pictures import ParetoPoint  # with matplotlib, which tables need not

    base, deciding_ms = run.base, run.latencies.deciding_ms
    return [
        ParetoPoint(
            label="unpruned" if one is base else run.labels[one.network_id],
            latency_ms=deciding_ms[one.network_id],
            fp32_ms=run.latencies.p50_ms(one.network_id, "cpu-fp32"),
            error_ratio=one.val.error / base.val.error,
            kind="unpruned" if one is base else "winner" if one is run.winner else "candidate",
            on_front=one.network_id in run.choice.front,
        )
        for one in (base, *run.scores)
        if one.network_id in deciding_ms and base.val.error
    ]


def data_note(dataset: DatasetRecord) -> str:
    """What the scores were measured on."""
    what = "SYNTHETIC images, which say nothing about photographs" if dataset.is_synthetic else dataset.source
    return (
        f"Data: {what} (data set {dataset.dataset_id}: {dataset.fit} fit, {dataset.tune} tune, {dataset.val} val). "
        "Each network reads the letterbox of its input. Errors are at the images' own size. The choice reads tune; val "
        "only reports. Ratios are to the unpruned network, speedups to its FP32 form. Milliseconds: median on the "
        "machine of the run, all forms in turns. INT8 of networks that did not win is quantised for its speed alone."
    )


def _number(value: float | None, digits: str) -> str:
    return "" if value is None else format(value, digits)
