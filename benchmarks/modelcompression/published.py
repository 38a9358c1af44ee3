"""MODNet-ModelCompression's three tables in kind: size and error, latency by device and runtime, ways of retraining.

python -m benchmarks.modelcompression.published --dataset portraits.zip --base modnet.ckpt --out published
python -m benchmarks.modelcompression.published --tiny --out published-tiny

Plans the published size and the published ablation (the same share from every branch, backbone whole or pruned too),
retrains, scores and times them, and writes tables.md. Each step leaves a file in `--out`, and what has its file is not
done again: a killed command goes on. Days on two cores for 800 photographs. Latencies are of the machine that runs the
command; a Neural Compute Stick 2 is measured by an edge agent on its host. `--tiny` takes every step in a minute; its
figures say nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from benchmarks.inputs import extracted, require_same
from benchmarks.latency.measuring import measured
from benchmarks.latency.tables import ON_OLD_RUNTIMES, tables
from benchmarks.making.headline import HEADLINE, SETTINGS, planned
from benchmarks.modelcompression.figures import PUBLISHED, PUBLISHED_MSE
from benchmarks.retraining.report import beside_published, interval_text, ratio_text
from benchmarks.retraining.results import BASE, LATENCY, Results
from benchmarks.retraining.runs import RECIPE, STUDY, Run
from benchmarks.retraining.training import Place, make_missing
from modnet.checkpoint import save_checkpoint
from modnet.configs import PruningConfig, RetrainConfig, UniformPolicy
from modnet.data.download import sha256_of_file
from modnet.evaluation.intervals import mean_interval
from modnet.files import write_atomically
from modnet.pruning.plan import PruningPlan, plan_pruning
from modnet.workloads.matting.checkpoint import load
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.portraits import Portraits
from modnet.workloads.matting.workload import MATTING
from tasks.pruning_evidence import plan_with_evidence
from tasks.tables import markdown_table

SHARE = 0.5  # of every branch, as published
STARTS = {"inherited": "pruned", "scratch": "scratch"}
EXCLUDED = {"branches": ("backbone.*",), "everything": ()}


@dataclass(frozen=True)
class Scale:
    """How much is computed.

    Attributes:
        recipe: of the network of the published size.
        way: of each cell of the ablation.
        rounds: of latency.
    """

    recipe: tuple[RetrainConfig, ...]
    way: RetrainConfig
    rounds: int


_TINY = RetrainConfig(image_size=64, batch_size=2, epochs=1, validate_every=None, precision="fp32")
SCALES = {
    False: Scale(RECIPE, STUDY["inherited-whole-alone-0"].phases[0], 50),
    True: Scale((_TINY,), _TINY, 2),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what is missing, then writes and prints the tables."""
    parser = argparse.ArgumentParser(description="The tables of MODNet-ModelCompression, measured again in kind.")
    parser.add_argument("--dataset", type=Path, help="zip of portraits")
    parser.add_argument("--base", type=Path, help="unpruned checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="folder of everything that is left")
    parser.add_argument("--legacy", type=Path, help="folder of `make legacy-runtimes`: the old ones are measured too")
    parser.add_argument("--threads", type=int, default=2, help="of inference (default: 2)")
    parser.add_argument("--device", default="cpu", help="of training: cpu or cuda (default: cpu)")
    parser.add_argument("--tiny", action="store_true", help="a tiny random base and a few drawn portraits")
    options = parser.parse_args(arguments)
    if options.tiny == (options.dataset is not None or options.base is not None):
        parser.error("give --dataset and --base, or --tiny, which makes its own")
    if not options.tiny and (options.dataset is None or options.base is None):
        parser.error("--dataset and --base are needed")
    out: Path = options.out
    for folder in (out / "results", out / "weights"):
        folder.mkdir(parents=True, exist_ok=True)
    dataset, checkpoint = _tiny_inputs(out) if options.tiny else (options.dataset, options.base)
    _require_same_question(out / "asked.json", dataset, checkpoint, options.tiny)
    base, results = load(checkpoint), Results(out / "results")
    place = Place(*extracted(dataset, out / "images"), out / "weights", options.device)
    plans = _plans(base, place, out / "plans", options.tiny)
    make_missing(_runs(plans, SCALES[options.tiny]), base, place, results)
    if not results.has(LATENCY):
        samples = measured(
            dataset,
            checkpoint,
            [plans["headline"]],
            cache=out / "images",
            folder=out / "irs",
            threads=options.threads,
            rounds=SCALES[options.tiny].rounds,
            app_runs=0,
            legacy=options.legacy,
        )
        results.write(LATENCY, samples)
    text = _report(results, options.tiny)
    write_atomically(out / "tables.md", text.encode())
    print(text)
    return 0


def _tiny_inputs(out: Path) -> tuple[Path, Path]:
    """A few drawn portraits and a tiny network of random weights."""
    dataset, checkpoint = out / "portraits.zip", out / "base.safetensors"
    if not dataset.exists():
        write_synthetic_archive(dataset, train=8, val=2, size=(72, 64), seed=0)
    if not checkpoint.exists():
        torch.manual_seed(0)
        save_checkpoint(MODNet(ModnetSpec.tiny()), checkpoint, {"tiny": "random weights"})
    return dataset, checkpoint


def _require_same_question(path: Path, dataset: Path, checkpoint: Path, tiny: bool) -> None:
    """Refuses a folder that holds the answers to another question; what is left of a cut run is taken up."""
    question = {"dataset": sha256_of_file(dataset), "base": sha256_of_file(checkpoint), "tiny": tiny}
    if path.exists():
        require_same(question, json.loads(path.read_text()), path, "--out")
    else:
        write_atomically(path, json.dumps(question, indent=1).encode())


def _plans(base: MODNet, place: Place, folder: Path, tiny: bool) -> dict[str, Path]:
    """The files of all plans by name; those that are there are kept."""

    def uniform(exclude: tuple[str, ...]) -> PruningPlan:
        config = PruningConfig(policy=UniformPolicy(ratio=SHARE), channel_multiple=1, min_channels=1, exclude=exclude)
        if tiny:
            return plan_pruning(base, config)
        config = config.model_copy(update={"criterion": "taylor"})
        return plan_with_evidence(base, config, MATTING, lambda: Portraits(place.images, place.index), threads=2)

    def headline() -> PruningPlan:
        return uniform(()) if tiny else planned(base, HEADLINE, SETTINGS[-1], place.images, place.index)

    makers: dict[str, Callable[[], PruningPlan]] = {"headline": headline}
    makers |= {name: partial(uniform, exclude) for name, exclude in EXCLUDED.items()}
    folder.mkdir(exist_ok=True)
    paths = {name: folder / f"{name}.json" for name in makers}
    for name, path in paths.items():
        if not path.exists():
            write_atomically(path, makers[name]().to_json().encode())
    return paths


def _runs(plans: dict[str, Path], scale: Scale) -> dict[str, Run]:
    runs = {"headline": Run(plans["headline"], scale.recipe)}
    for pruned, start in itertools.product(EXCLUDED, STARTS):
        way = scale.way.model_copy(update={"initialise": STARTS[start]})
        runs[f"{pruned}-{start}"] = Run(plans[pruned], (way,))
    return runs


def _report(results: Results, tiny: bool) -> str:
    """The three tables, each beside what was published where the same thing was."""
    warning = (
        "\nA tiny random network and drawn portraits: every step is real, the figures say nothing.\n" if tiny else ""
    )
    timed = "\n\n".join(
        f"{title}\n\n{markdown_table(rows)}"
        for title, rows in tables(results.read(LATENCY)).items()
        if title.startswith("Latency") or (title == ON_OLD_RUNTIMES and rows)
    )
    return f"""# MODNet-ModelCompression's tables, measured again in kind
{warning}
## Size and error, before and after

{beside_published(results)}

## Latency by device and runtime

{timed}

A Neural Compute Stick 2 is not measured here: an edge agent on its host does that (`--target ncs2-fp16`).

## Ways of retraining

{_ways(results)}
"""


def _ways(results: Results) -> str:
    """One row for each cell of the published ablation: MSE over the unpruned network's, theirs and ours."""
    base, rows = results.val(BASE), []
    for (pruned, start), published in PUBLISHED_MSE.items():
        name = f"{pruned}-{start}"
        run, val = results.read(name), results.val(name)
        rows.append(
            {
                "half pruned": pruned,
                "retrained from": "the weights that are left" if start == "inherited" else "random weights",
                "published MSE": f"{published:.6f}",
                "× its unpruned": f"{published / PUBLISHED[0].mse:.2f}",
                "M": f"{run['parameters'] / 1e6:.3f}",
                "GMAC": f"{run['macs'] / 1e9:.2f}",
                "val MSE (95 %)": interval_text(mean_interval(val, "mse")),
                "× base (95 %)": ratio_text(val, base, "mse"),
            }
        )
    return markdown_table(rows)


if __name__ == "__main__":
    raise SystemExit(main())
