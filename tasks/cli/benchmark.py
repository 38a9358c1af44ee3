"""`modnet benchmark`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from infra.device.documents.latency_summary import percentile_note, summarise
from infra.device.measuring.latency import measure_interleaved
from infra.device.measuring.runtime import load_ir, runtime_text
from modnet.evaluation.intervals import median_ratio_interval
from modnet.export.graph_file import fixed_shape, read_ir
from modnet.export.runtime import device_here
from modnet.shipped import FRONT
from modnet.targets import Shape
from modnet.workloads.matting.weights import front_network
from tasks.cli.exit_codes import UsageError
from tasks.cli.flags import SIZE, Options, Result, require_free, write_result
from tasks.cli.given import given_shape
from tasks.tables import markdown_table


class _Measured(NamedTuple):
    """An IR in one shape, and the cells that tell it apart in the table."""

    xml: Path
    cells: dict[str, str]
    shape: Shape | None = None

    @property
    def name(self) -> str:
        return " ".join(self.cells.values())


def benchmark(options: Options) -> Result:
    """Measures IRs on this machine for each batch size, all IRs in turns, with the edge agent's code."""
    measured = _measured(options)
    if options.picture is not None:
        from modnet.report.batch_plot import BatchSamples, batch_plot  # with matplotlib: missed before it measures

        require_free(options, options.picture)
    device = device_here(options.device)
    rows: list[dict[str, str]] = []
    drawn: list[tuple[str, int, tuple[float, ...]]] = []
    for batch in options.batch:
        load = partial(load_ir, device=device, threads=options.threads, batch=batch, open_side=options.size or SIZE)
        models = {one.name: load(one.xml, shape=one.shape) for one in measured}
        runs = {name: model.run_once for name, model in models.items()}
        samples = measure_interleaved(runs, warm_up=options.warm_up, rounds=options.repeats)
        for one in measured:
            ms = samples[one.name].samples_ms
            drawn.append((one.name, batch, ms))
            summary = summarise(ms)
            faster = median_ratio_interval(samples[measured[0].name].samples_ms, ms)
            rows.append(
                {
                    **one.cells,
                    "batch": str(batch),
                    "p50 ms": f"{summary.p50_ms:.2f}",
                    "p90 ms": f"{summary.p90_ms:.2f}",
                    "p99 ms": f"{summary.p99_ms:.2f}",
                    "images/s": f"{1000 * batch / summary.p50_ms:.2f}",
                    "times as fast as the first": f"{faster.mean:.2f} ({faster.low:.2f} to {faster.high:.2f})",
                    "precision": str(models[one.name].precision),
                }
            )
    found: Result = {"runtime": runtime_text(), "repeats": options.repeats}
    if (note := percentile_note(options.repeats)) is not None:
        found["note"] = note
    if options.picture is not None:
        picture = batch_plot([BatchSamples(*one) for one in drawn], f"{runtime_text()} on {device}")
        write_result(options.picture, picture)
        found["picture"] = str(options.picture)
    if options.json:
        return found | {"rows": rows}
    telling_apart = ("ir", "times as fast as the first") if len(measured) == 1 else ()
    shown = [{name: cell for name, cell in row.items() if name not in telling_apart} for row in rows]
    return found | {"table": markdown_table(shown)}


def _measured(options: Options) -> Sequence[_Measured]:
    if options.shipped == (options.ir is not None):
        raise UsageError("say what to measure: --ir model.xml, or --shipped for the networks that the project ships")
    if options.shipped:
        if options.size is not None:
            raise UsageError("--size would do nothing: the shipped networks are measured in their own sizes")
        return [
            _Measured(xml, {"network": name, "target": target, "input": f"{shape[0]}×{shape[1]}"}, shape)
            for name in FRONT
            for target, xml in front_network(name).irs.items()
            for shape in front_network(name).shapes
        ]
    if len(set(options.ir)) < len(options.ir):
        raise UsageError("--ir: the same file twice")
    for xml in options.ir:
        given_shape(xml, fixed_shape(read_ir(xml)), options.size)
    return [_Measured(xml, {"ir": str(xml)}) for xml in options.ir]
