"""How much faster the pruned and quantised network is, and which layers hold it back.

python -m benchmarks.latency --dataset portraits.zip --base modnet.ckpt [--plan PLAN …] [--samples latency.json]
python -m benchmarks.latency --read latency.json    # the tables of an earlier run

Batch 1, 512×512, everything in turns within one run, so that a busy moment of the machine meets all alike. With
`--shape 480x320` pruned networks read that, and the unpruned one still 512×512:

* the unpruned network and that of each plan, as `cpu-fp32` and `cpu-int8` (calibrated on some of *fit*), float parts
  in f32 and in bf16, by the edge agent's measuring code, by the clock and then by CPU time of all threads, which hardly
  grows while other processes have the cores;
* with `--legacy` the IRs for the Neural Compute Stick 2 on the CPU of the old runtimes, the networks in turns;
* of the unpruned network and the first plan's: that code against OpenVINO's `benchmark_app`, on the same IRs with the
  same properties; and the time of every node by OpenVINO's profiling, summed by kind and by layer of the network,
  beside the layer's MACs.

Networks have the weights that pruning left, as latency does not depend on them where INT8 puts no layer back to float.

The JSON holds every sample, with the conditions of the machine before and after; ratios and intervals are computed on
reading. `benchmark_app` tells no samples, only the median of each of its runs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.inputs import HEADLINE_PLAN, input_parser
from benchmarks.latency.measuring import SQUARE, measured, missing_runtimes
from benchmarks.latency.tables import tables
from modnet.files import write_atomically
from tasks.cli.values import size
from tasks.tables import markdown_table


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, unless an earlier run is read, and prints the tables."""
    parser = input_parser("Latency of the unpruned and of pruned networks.", required=False)
    parser.prog = "python -m benchmarks.latency"
    parser.add_argument(
        "--plan", type=Path, nargs="+", default=[HEADLINE_PLAN], help="of pruning (default: the headline's)"
    )
    parser.add_argument("--shape", type=size, default=SQUARE, metavar="HxW", help="what pruned networks read")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=50, help="samples of each row (default: 50)")
    parser.add_argument(
        "--app-runs", type=int, default=40, help="turns of agent and benchmark_app (default: 40; 0: none)"
    )
    parser.add_argument("--legacy", type=Path, help="folder of `make legacy-runtimes`: the old ones are measured too")
    parser.add_argument("--folder", type=Path, help="where IRs are written, and taken from when they are there")
    parser.add_argument("--samples", type=Path, default=Path("latency.json"), help="the JSON to write")
    parser.add_argument("--read", type=Path, help="the JSON of an earlier run: nothing is measured")
    options = parser.parse_args(arguments)
    if options.read is None:
        if options.dataset is None or options.base is None:
            parser.error("--dataset and --base are needed to measure, or --read to look at an earlier run")
        if options.legacy is not None and (missing := missing_runtimes(options.legacy)):
            parser.error(f"--legacy: {options.legacy} lacks OpenVINO {' and '.join(missing)}: see make legacy-runtimes")
        result = measured(
            options.dataset,
            options.base,
            options.plan,
            options.shape,
            cache=options.cache,
            folder=options.folder,
            threads=options.threads,
            rounds=options.rounds,
            app_runs=options.app_runs,
            legacy=options.legacy,
        )
        write_atomically(options.samples, json.dumps(result, indent=1).encode())
    else:
        result = json.loads(options.read.read_text())
    for title, rows in tables(result).items():
        print(f"\n{title}\n\n{markdown_table(rows)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
