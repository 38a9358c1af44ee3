"""How a pruned network gets its accuracy back: sizes retrained by one recipe, and ways of retraining one size.

python -m benchmarks.retraining --dataset portraits.zip --base modnet.ckpt [RUN …]   # what is missing, then the report
python -m benchmarks.retraining --report                                            # tables and plots alone

A RUN is `sizes` (all of them), `others` (the headline by other recipes and plans), `study`, or the name of one. Each
leaves RUN.json (how, scores of every image, conditions) and RUN.training.jsonl (the curve) in results/retraining/, and
its network in `--weights`. What has a RUN.json is not run again, and a run that was cut goes on from its last saved
state. Scores: MODNet-ModelCompression's protocol, float32.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.inputs import extracted, input_parser
from benchmarks.retraining.plots import sizes_plot, study_plot
from benchmarks.retraining.report import (
    recipe_differences,
    sizes_table,
    smallest_accepted,
    study_differences,
    study_table,
)
from benchmarks.retraining.results import BASE, RETRAINING, Results
from benchmarks.retraining.runs import GROUPS, Runs
from benchmarks.retraining.training import Place, make_missing
from modnet.files import write_atomically
from modnet.workloads.matting.checkpoint import load


def main(arguments: Sequence[str] | None = None, groups: Mapping[str, Runs] = GROUPS) -> int:
    """Trains what is missing, then prints the tables and draws the plots."""
    every = {name: run for runs in groups.values() for name, run in runs.items()}
    parser = input_parser("How a pruned network gets its accuracy back.", required=False)
    parser.prog = "python -m benchmarks.retraining"
    parser.add_argument("runs", nargs="*", metavar="RUN", default=["sizes"], help=", ".join([*groups, *every]))
    parser.add_argument("--weights", type=Path, default=Path(".modnet/retraining"), help="where networks go")
    parser.add_argument("--results", type=Path, default=RETRAINING, help="where results go, and are read")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.runs if name not in every | dict(groups)]:
        parser.error(f"no such runs: {', '.join(unknown)}; there are {', '.join([*groups, *every])}")
    results = Results(options.results)
    if not options.report:
        if options.dataset is None or options.base is None:
            parser.error("--dataset and --base are needed unless --report is given")
        for folder in (options.results, options.weights):
            folder.mkdir(parents=True, exist_ok=True)
        place = Place(*extracted(options.dataset, options.cache), options.weights, options.device)
        base = load(options.base)
        names = itertools.chain.from_iterable(groups.get(one, [one]) for one in options.runs)
        make_missing({name: every[name] for name in names}, base, place, results)
    elif not results.has(BASE):
        parser.error(f"nothing to report: {results.path(BASE)} is missing")
    print(sizes_table(results, groups["sizes"], groups["others"]))
    print(recipe_differences(results, groups["sizes"], groups["others"]))
    print(smallest_accepted(results, groups["sizes"]))
    write_atomically(results.folder / "sizes.png", sizes_plot(results, groups["sizes"]))
    if any(results.has(name) for name in groups["study"]):
        print(study_table(results, groups["study"]))
        print(study_differences(results, groups["study"]))
        write_atomically(results.folder / "study.png", study_plot(results, groups["study"]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
