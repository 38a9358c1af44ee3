"""The small network that the project ships: the shipped base, pruned to the headline's size and retrained.

python -m benchmarks.shipped_pruned --dataset portraits.zip --out pruned

Plans by the headline's setting, on photographs: the first images of the mixed set are all rendered, and a network
planned on them had three times the error after as long a training. Retrains as the headline was retrained, for fewer
epochs, on the photographs and rendered portraits that taught the base. When it is killed, the same command goes on.
`benchmarks.shipped_base score --name pruned --trained pruned/shipped-pruned.safetensors` puts the result into
`modnet/workloads/matting/weights/`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.headline import HEADLINE, SETTINGS, planned
from benchmarks.retraining import Place, asked, carry_out
from benchmarks.retraining_report import Results
from benchmarks.retraining_runs import RECIPE, Run
from benchmarks.shipped_base import PORTRAITS, mix
from modnet.checkpoint import save_checkpoint
from modnet.data.archives import extract_archive
from modnet.files import write_atomically
from modnet.workloads.matting.checkpoint import load
from modnet.workloads.matting.data.indexing import index_dataset
from modnet.workloads.matting.weights import SHIPPED_BASE

NAME = "pruned"
PHASES = tuple(phase.model_copy(update={"epochs": epochs}) for phase, epochs in zip(RECIPE, (6, 2), strict=True))


def main(arguments: Sequence[str] | None = None) -> int:
    """Plans and retrains what is missing."""
    parser = argparse.ArgumentParser(description="Makes the small network that the project ships.")
    parser.add_argument("--dataset", type=Path, required=True, help="zip of photographs")
    parser.add_argument("--out", type=Path, required=True, help="folder for everything that is made")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    mixed = mix(options.dataset, PORTRAITS, options.out)
    base = load(SHIPPED_BASE).eval()
    plan = options.out / "plan.json"
    if not plan.exists():
        photographs = extract_archive(options.dataset, options.out / "extracted")
        channels = planned(base, HEADLINE, SETTINGS[-1], photographs, index_dataset(photographs))
        write_atomically(plan, channels.to_json().encode())
    results = Results(options.out)
    run = Run(plan, PHASES)
    place = Place(mixed.folder, mixed.index, options.out, options.device)
    question = asked(run, base, place)
    if not results.has(NAME):
        carry_out(NAME, run, question, base, place, results)
    told = results.read(NAME)
    result = {name: told[name] for name in ("images_seen", "seconds")} | {"precision": ", ".join(told["precision"])}
    machine = {name: told[name] for name in ("device", "torch")}
    made = question | {"data": mixed.facts, "result": result, "machine": machine}
    trained = options.out / "shipped-pruned.safetensors"
    save_checkpoint(load(options.out / f"{NAME}.safetensors"), trained, made, half=True)
    print(trained)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
