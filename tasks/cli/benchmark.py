"""`modnet benchmark`."""

from __future__ import annotations

from infra.device.documents.latency_summary import percentile_note, summarise
from infra.device.measuring.latency import measure_interleaved
from infra.device.measuring.runtime import load_ir, runtime_text
from modnet.evaluation.intervals import median_ratio_interval
from modnet.export.graph_file import fixed_shape, read_ir
from modnet.export.runtime import device_here
from tasks.cli.exit_codes import UsageError
from tasks.cli.flags import SIZE, Options, Result, require_free, write_result
from tasks.cli.given import given_shape
from tasks.tables import markdown_table


def benchmark(options: Options) -> Result:
    """Measures IRs on this machine for each batch size, all IRs in turns, with the edge agent's code."""
    if len(set(options.ir)) < len(options.ir):
        raise UsageError("--ir: the same file twice")
    for xml in options.ir:
        given_shape(xml, fixed_shape(read_ir(xml)), options.size)
    if options.picture is not None:
        from modnet.report.batch_plot import BatchSamples, batch_plot  # with matplotlib: missed before it measures

        require_free(options, options.picture)
    device = device_here(options.device)
    rows: list[dict[str, str]] = []
    measured: list[tuple[str, int, tuple[float, ...]]] = []
    for batch in options.batch:
        models = {
            xml: load_ir(
                xml,
                device=device,
                threads=options.threads,
                batch=batch,
                open_side=options.size or SIZE,
            )
            for xml in options.ir
        }
        runs = {str(xml): model.run_once for xml, model in models.items()}
        samples = measure_interleaved(runs, warm_up=options.warm_up, rounds=options.repeats)
        for xml, model in models.items():
            ms = samples[str(xml)].samples_ms
            measured.append((str(xml), batch, ms))
            summary = summarise(ms)
            faster = median_ratio_interval(samples[str(options.ir[0])].samples_ms, ms)
            rows.append(
                {
                    "ir": str(xml),
                    "batch": str(batch),
                    "p50 ms": f"{summary.p50_ms:.2f}",
                    "p90 ms": f"{summary.p90_ms:.2f}",
                    "p99 ms": f"{summary.p99_ms:.2f}",
                    "images/s": f"{1000 * batch / summary.p50_ms:.2f}",
                    "times as fast as the first": f"{faster.mean:.2f} ({faster.low:.2f} to {faster.high:.2f})",
                    "precision": str(model.precision),
                }
            )
    found: Result = {"runtime": runtime_text(), "repeats": options.repeats}
    if (note := percentile_note(options.repeats)) is not None:
        found["note"] = note
    if options.picture is not None:
        picture = batch_plot([BatchSamples(*one) for one in measured], f"{runtime_text()} on {device}")
        write_result(options.picture, picture)
        found["picture"] = str(options.picture)
    if options.json:
        return found | {"rows": rows}
    telling_apart = ("ir", "times as fast as the first") if len(options.ir) == 1 else ()
    shown = [{name: cell for name, cell in row.items() if name not in telling_apart} for row in rows]
    return found | {"table": markdown_table(shown)}
