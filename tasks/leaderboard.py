"""The result of a run as tables and one self-contained page."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from infra.device.documents.latency_report import LatencyReport
from infra.device.shown import shown
from modnet.evaluation.intervals import difference_interval
from modnet.records import (
    Candidate,
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

_SENTENCE = 40  # characters


def network_rows(
    base: NetworkScores,
    scores: Sequence[NetworkScores],
    candidates: Mapping[str, Candidate],
    latencies: HostLatencies,
    choice: Choice,
    failures: Sequence[Failure],
) -> list[Row]:
    """One row per network, the unpruned first, then the fastest first, then what failed."""
    rows = [_network_row("unpruned", base, base, latencies, "what the others are compared with")]
    for one in sorted(scores, key=lambda one: (latencies.deciding_ms.get(one.network_id, math.inf), one.tune.error)):
        label = candidates[one.network_id].label
        won = "winner; " if one.network_id == choice.winner else ""
        rows.append(_network_row(label, one, base, latencies, won + choice.reasons[one.network_id]))
    empty = dict.fromkeys(rows[0], "")
    rows += [empty | {"network": f.label, "id": f.candidate_id, "verdict": f"failed: {f.reason}"} for f in failures]
    return rows


def _network_row(label: str, one: NetworkScores, base: NetworkScores, latencies: HostLatencies, verdict: str) -> Row:
    """What people look at first stands first."""
    apart = difference_interval(one.val, base.val, "mse")
    forms: dict[str, Target] = {"FP32": "cpu-fp32", "INT8": "cpu-int8"}
    return {
        "network": label,
        **{f"{form} ms": _number(latencies.p50_ms(one.network_id, target), ".1f") for form, target in forms.items()},
        **{
            f"{form} speedup": _number(latencies.speedup(one.network_id, target, base.network_id), ".2f")
            for form, target in forms.items()
        },
        "tune MSE ratio": f"{one.tune.error / base.tune.error:.2f}" if base.tune.error else "",
        "val MSE ratio": f"{one.val.error / base.val.error:.2f}" if base.val.error else "",
        "parameters M": f"{one.complexity.parameters / 1e6:.3f}",
        "GMAC": f"{one.complexity.macs / 1e9:.2f}",
        "size MB": f"{one.size_bytes / 1e6:.2f}",
        "id": one.network_id,
        "verdict": verdict,
        "tune MSE": f"{one.tune.error:.6f}",
        "val MSE": f"{one.val.error:.6f}",
        "val MSE more than unpruned, 95 %": f"{apart.low:+.5f} to {apart.high:+.5f}",
        "val MAD": f"{one.val.errors['mad']:.6f}",
        "val SAD k": _number(one.val.errors.get("sad"), ".3f"),
        "val Grad k": _number(one.val.errors.get("grad"), ".3f"),
        "val Conn k": _number(one.val.errors.get("conn"), ".3f"),
    }


def what_was_gained(
    base: NetworkScores,
    winner: NetworkScores,
    label: str,
    latencies: HostLatencies,
    export: ExportRecord,
) -> str:
    """One sentence: how much faster and smaller the winner is than the unpruned network, and how much more it errs."""
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
    shipped, quantised = export.val.get(form), ""
    if form == "cpu-int8" and shipped is not None and export.val["torch"]["mse"]:
        quantised = (
            f" Its INT8 form errs {shipped['mse'] / export.val['torch']['mse']:.2f} times as much as its float form."
        )
    return (
        f"{label} {speed}. It has {100 * share:.0f} % of its parameters and errs {times} on val "
        f"(MSE {winner.val.error:.5f}, {base.val.error:.5f} unpruned).{quantised}"
    )


def _number(value: float | None, digits: str) -> str:
    """Nothing where nothing was measured."""
    return "" if value is None else format(value, digits)


def target_rows(export: ExportRecord, promotions: Sequence[Promotion] = ()) -> list[Row]:
    """One row for torch and each target of an export: what is not released and what is not promoted, with reasons."""
    verdicts = {name: f"not released: {reason}" for name, reason in export.refused.items()}
    for one in promotions:  # why a target runs the new one is in the log: a second run has another reason
        verdicts[one.target] = f"runs {one.release_id}" if one.is_moved else f"keeps {one.release_id}: {one.reason}"
    rows = []
    for name in ("torch", *export.targets, *export.refused):
        errors = export.val.get(name)
        parity, tune_mse = export.parity.get(name), export.tune_mse.get(name)
        files = [export.files[f"modnet-{name}.{ending}"] for ending in ("xml", "bin")] if name in export.targets else []
        checks = [
            f"{one.by}: {one.status}" for target, all_of in export.legacy.items() if target == name for one in all_of
        ]
        rows.append(
            {
                "target": name,
                "val MSE": "" if errors is None else f"{errors['mse']:.6f}",
                "val MAD": "" if errors is None else f"{errors['mad']:.6f}",
                "val MSE ratio": ""
                if errors is None or not export.val["torch"]["mse"]
                else f"{errors['mse'] / export.val['torch']['mse']:.3f}",
                "tune MSE": "" if tune_mse is None else f"{tune_mse:.6f}",
                "alpha's mean difference": "" if parity is None else f"{parity:.1e}",
                "IR MB": f"{sum(file.size_bytes for file in files) / 1e6:.2f}" if files else "",
                "old runtimes": "; ".join(checks),
                "verdict": verdicts.get(name, ""),
            }
        )
    return rows


def target_note(export: ExportRecord) -> str:
    """What the rows of targets were measured by."""
    return (
        f"The winner's forms, as devices of the target run them. Protocol: device-{export.size}. Ratio and difference "
        "are to torch's matte in the same protocol."
    )


def device_rows(reports: Sequence[LatencyReport]) -> list[Row]:
    """One row per report of a device."""
    rows = []
    for report in sorted(reports, key=lambda report: (report.device, report.target, report.started_at)):
        summary = report.summary
        rows.append(
            {
                "device": report.device,
                "target": report.target,
                "release": report.release_id,
                "runtime": report.runtime,
                "precision": report.precision or "",
                "p50 ms": "" if summary is None else f"{summary.p50_ms:.1f}",
                "p90 ms": "" if summary is None else f"{summary.p90_ms:.1f}",
                "p99 ms": "" if summary is None else f"{summary.p99_ms:.1f}",
                "samples": str(len(report.samples_ms)),
                "status": report.status if report.reason is None else f"{report.status}: {report.reason}",
            }
        )
    return [{name: shown(cell) for name, cell in row.items()} for row in rows]


def int8_rows(decision: QuantisationDecision) -> list[Row]:
    """One row per quantised layer, by the harm that its rounding does where that was measured."""
    return [
        {
            "layer": one.layer,
            "harm, tune MSE": "" if one.harm is None else f"{one.harm:+.2e}",
            "computes in": "8 bits" if one.mse_when_put_back is None else "float",
            "tune MSE then": "" if one.mse_when_put_back is None else f"{one.mse_when_put_back:.6f}",
        }
        for one in decision.layers
    ]


def pareto_points(
    base: NetworkScores,
    scores: Sequence[NetworkScores],
    candidates: Mapping[str, Candidate],
    latencies: HostLatencies,
    choice: Choice,
) -> list[ParetoPoint]:
    """Where each measured network stands in accuracy against latency; none where the unpruned network errs nowhere."""
    from modnet.report.pictures import ParetoPoint  # with matplotlib, which tables need not

    points = []
    for one in (base, *scores):
        deciding = latencies.deciding_ms.get(one.network_id)
        if deciding is not None and base.val.error:
            is_base, is_winner = one is base, one.network_id == choice.winner
            points.append(
                ParetoPoint(
                    label="unpruned" if is_base else candidates[one.network_id].label,
                    latency_ms=deciding,
                    fp32_ms=latencies.p50_ms(one.network_id, "cpu-fp32"),
                    error_ratio=one.val.error / base.val.error,
                    kind="unpruned" if is_base else "winner" if is_winner else "candidate",
                    on_front=one.network_id in choice.front,
                )
            )
    return points


def data_note(dataset: DatasetRecord, protocol: str) -> str:
    """What the scores were measured on."""
    what = "SYNTHETIC portraits, which say nothing about photographs" if dataset.is_synthetic else dataset.source
    return (
        f"Data: {what} (data set {dataset.dataset_id}: {dataset.fit} fit, {dataset.tune} tune, {dataset.val} val). "
        f"Protocol: {protocol}. The choice reads tune; val only reports. Ratios are to the unpruned network, speedups "
        "to its FP32 form. Milliseconds: median on the machine of the run, all forms in turns. INT8 of networks that "
        "did not win is quantised for its speed alone."
    )


def markdown_table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table."""
    if not rows:
        return "(nothing)"
    columns = list(rows[0])
    cells = [columns, ["---"] * len(columns), *([row[c].replace("|", "\\|") for c in columns] for row in rows)]
    return "\n".join(shown(f"| {' | '.join(line)} |") for line in cells)


def html_page(
    title: str, lead: str, note: str, tables: Mapping[str, Sequence[Row]], pictures: Mapping[str, bytes]
) -> bytes:
    """One page without anything to load: what matters first, pictures (PNG) and tables, and how it was measured."""
    style = (
        "body{font-family:system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem}"
        "table{border-collapse:collapse;font-size:.85rem}td,th{padding:.3rem .6rem;border-bottom:1px solid #ddd;"
        "text-align:left;vertical-align:top}.sentence{min-width:22rem}img{max-width:100%}div{overflow-x:auto}"
    )
    sections = [f"<h1>{html.escape(title)}</h1><p><b>{html.escape(lead)}</b></p>"]
    for heading, png in pictures.items():
        sections.append(f"<h2>{html.escape(heading)}</h2>{_html_image(png, heading.lower())}")
    for heading, rows in tables.items():
        content = _html_table(rows) if rows else "<p>Nothing yet.</p>"
        sections.append(f"<h2>{html.escape(heading)}</h2><div>{content}</div>")
    sections.append(f"<p>{html.escape(note)}</p>")
    body = "".join(sections)
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{style}</style>'
    return shown(f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>').encode()


def _html_table(rows: Sequence[Row]) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in rows[0])
    lines = "".join("<tr>" + "".join(_html_cell(cell) for cell in row.values()) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{lines}</table>"


def _html_cell(cell: str) -> str:
    """Sentences get room; a browser would squeeze them into a column of single words."""
    room = ' class="sentence"' if len(cell) > _SENTENCE else ""
    return f"<td{room}>{html.escape(cell)}</td>"


def _html_image(png: bytes, description: str) -> str:
    return f'<img alt="{description}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
