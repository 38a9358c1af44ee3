"""`modnet benchmark`."""

from __future__ import annotations

from infra.edge_agent.latency import measure
from infra.edge_agent.runtime import load_ir, runtime_text
from infra.reports import summarise
from tasks.cli.flags import Options, Result
from tasks.leaderboard import markdown_table


def benchmark(options: Options) -> Result:
    """Measures an IR on this machine with the edge agent's code, for each batch size."""
    rows = []
    for batch in options.batch:
        model = load_ir(
            options.ir,
            device=options.device.upper(),
            threads=options.threads,
            batch=batch,
            open_side=options.size,
        )
        samples = measure(model.run_once, warm_up=options.warm_up, repeats=options.repeats)
        summary = summarise(samples.samples_ms)
        rows.append(
            {
                "batch": str(batch),
                "p50 ms": f"{summary.p50_ms:.2f}",
                "p90 ms": f"{summary.p90_ms:.2f}",
                "p99 ms": f"{summary.p99_ms:.2f}",
                "images/s": f"{1000 * batch / summary.p50_ms:.2f}",
                "precision": str(model.precision),
            }
        )
    return {"runtime": runtime_text(), "rows": rows} if options.json else {"table": markdown_table(rows)}
