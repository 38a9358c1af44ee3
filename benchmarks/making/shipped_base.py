r"""The unpruned network that the project ships: trained on photographs and rendered portraits, scored on unseen ones.

python -m benchmarks.making.shipped_base train --dataset portraits.zip --out base \
  --backbone deeplabv3_mnv2_voc_dequant.npz
python -m benchmarks.making.shipped_base score --dataset portraits.zip --trained base/base.safetensors

`train` needs torch, numpy, OpenCV, pydantic, safetensors and tqdm and nothing else, so it can run where the rest is not
installed; when it is killed, the same command goes on. Its result is one file that says itself how it was made. `score`
measures that file as it is shipped, convolutions rounded to float16, and writes the folder of shipped weights: the
network, its scores as `base.json`, and the table in its README. With `--name pruned` it does so for the small network
that `benchmarks.making.shipped_pruned` makes.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import platform
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import torch

from benchmarks.inputs import PROTOCOL, extracted, require_same
from modnet.checkpoint import save_checkpoint, to_bytes
from modnet.data.download import sha256_of_file
from modnet.errors import CheckpointError, DatasetError
from modnet.files import write_atomically
from modnet.pruning.complexity import complexity
from modnet.records import TrainingReport
from modnet.report.score_tables import intervals
from modnet.workloads.matting.checkpoint import load, read_checkpoint
from modnet.workloads.matting.data.indexing import DatasetIndex, Pair, index_dataset
from modnet.workloads.matting.data.protocols import Protocol
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.evaluate import evaluate
from modnet.workloads.matting.names import ALL_METRICS
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.portraits import Portraits
from modnet.workloads.matting.predict.predictors import TorchPredictor
from modnet.workloads.matting.settings import AugmentationConfig, MattingTraining
from modnet.workloads.matting.weights import SHIPPED_BASE, SHIPPED_SMALL
from modnet.workloads.matting.workload import MATTING
from tasks.training_run import run_training, start_from_backbone

PORTRAITS = 120
PORTRAIT_SIZE = (825, 550)  # height and width, as most photographs have
PORTRAIT_SEED = 0
UNSEEN_PORTRAITS = 24  # of val, which is drawn by other numbers than train, in the demo's size: for the score
UNSEEN_SIZE = (512, 384)
PROTOCOLS: tuple[Protocol, ...] = (PROTOCOL, "device-512")
MAX_BYTES = 14_000_000


@dataclass(frozen=True)
class Mixed:
    """Photographs, some of train replaced by rendered portraits; and what they are, for the record."""

    folder: Path
    index: DatasetIndex
    facts: dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains or scores."""
    parser = argparse.ArgumentParser(description="Makes the network that the project ships.")
    steps = parser.add_subparsers(required=True, metavar="STEP")
    training = steps.add_parser("train", help="train it; goes on when it was killed")
    training.add_argument("--out", type=Path, required=True, help="folder for everything that is made")
    training.add_argument("--backbone", type=Path, help="MobileNetV2 with folded norms (.npz) to start from")
    training.add_argument("--portraits", type=int, default=PORTRAITS, help="rendered ones in train (default: 120)")
    training.add_argument("--epochs", type=int, default=24, help="(default: 24)")
    training.add_argument("--size", type=int, default=448, help="side of the crops, pixels (default: 448)")
    training.add_argument("--batch-size", type=int, default=16, help="(default: 16)")
    training.add_argument("--seed", type=int, default=0, help="(default: 0)")
    training.add_argument("--workers", type=int, default=0, help="processes that compute samples (default: a thread)")
    training.set_defaults(run=train)
    scoring = steps.add_parser("score", help="score what was trained, and put it into modnet/workloads/matting/weights")
    scoring.add_argument("--trained", type=Path, required=True, help="the safetensors file of the training")
    scoring.add_argument("--name", choices=("base", "pruned"), default="base", help="which it is (default: base)")
    scoring.add_argument("--cache", type=Path, default=Path(".modnet/cache/datasets"), help="where zips are extracted")
    scoring.set_defaults(run=score)
    for step in (training, scoring):
        step.add_argument("--dataset", type=Path, required=True, help="zip of photographs")
        step.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    options = parser.parse_args(arguments)
    print(options.run(options))
    return 0


def train(options: argparse.Namespace) -> Path:
    """The trained network, in a file with what it was made by.

    Raises:
        ConfigError: the folder holds one that was made otherwise.
    """
    trained: Path = options.out / "base.safetensors"
    options.out.mkdir(parents=True, exist_ok=True)
    mixed = mix(options.dataset, options.portraits, options.out)
    config = MattingTraining(
        epochs=options.epochs,
        batch_size=options.batch_size,
        image_size=options.size,
        learning_rate=1.5e-3,
        average_decay=0.995,
        validate_every=max(1, options.epochs // 8),
        validation_images=48,
        precision="bf16",
        augmentation=AugmentationConfig(smallest_crop=0.5, largest_crop=1.5),
    )
    backbone = None
    if options.backbone is not None:
        backbone = {"file": options.backbone.name, "sha256": sha256_of_file(options.backbone)}
    recipe = {
        "data": mixed.facts,
        "backbone": backbone,
        "training": config.model_dump(mode="json"),
        "seed": options.seed,
    }
    if trained.exists():
        require_same(recipe, read_checkpoint(trained).provenance, trained, "--out")
        return trained
    torch.manual_seed(options.seed)
    network, data = MODNet(ModnetSpec.full()), Portraits(mixed.folder, mixed.index)
    if options.backbone is not None:
        start_from_backbone(network, MATTING, options.backbone, data, config, options.seed)
    state = options.out / "training-state"
    report = run_training(
        network,
        MATTING,
        data,
        config,
        seed=options.seed,
        device=options.device,
        save=lambda reached: write_atomically(state, reached.to_bytes()),
        saved=state.read_bytes() if state.exists() else None,
        workers=options.workers,
    )
    curve = "".join(f"{epoch.model_dump_json()}\n" for epoch in report.history)
    write_atomically(options.out / "training.jsonl", curve.encode())
    result = {"result": _summary(report), "machine": _machine(options.device)}
    save_checkpoint(network, trained, recipe | result, half=True)
    state.unlink(missing_ok=True)
    return trained


def mix(archive: Path, portraits: int, folder: Path) -> Mixed:
    """Photographs and portraits in one folder below `folder`.

    A portrait takes the place, in train, of the photograph of its name, 0000 and on: a split is made by names, so every
    photograph that is left is in the split that it is in alone.

    Raises:
        DatasetError: the archive cannot be used, or portraits with new names would move a photograph from tune to fit.
    """
    rendered = folder / f"portraits-{portraits}.zip"
    if not rendered.exists():
        write_synthetic_archive(rendered, train=portraits, val=1, size=PORTRAIT_SIZE, seed=PORTRAIT_SEED)
    (photographs_in, photographs), (drawn_in, drawn) = (
        extracted(one, folder / "extracted") for one in (archive, rendered)
    )
    drawn_stems = {pair.stem for pair in drawn.train}
    height, width = PORTRAIT_SIZE
    facts = {
        "photographs": {
            "sha256": sha256_of_file(archive),
            "train": sum(pair.stem not in drawn_stems for pair in photographs.train),
            "val": len(photographs.val),
        },
        "portraits": {
            "sha256": sha256_of_file(rendered),
            "train": portraits,
            "height": height,
            "width": width,
            "seed": PORTRAIT_SEED,
        },
    }
    mixed = folder / f"mixed-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]}"
    if not mixed.is_dir():
        with TemporaryDirectory(prefix=".mixed-", dir=folder) as temporary:
            content = Path(temporary, "content")
            for pair in photographs.val:
                _copy(pair, photographs_in, content / "val")
            for pair in photographs.train:
                if pair.stem not in drawn_stems:
                    _copy(pair, photographs_in, content / "train")
            for pair in drawn.train:
                _copy(pair, drawn_in, content / "train")
            content.rename(mixed)
    index = index_dataset(mixed)
    if moved := {pair.stem for pair in photographs.split("tune")} & {pair.stem for pair in index.split("fit")}:
        raise DatasetError(f"{portraits} portraits would move photographs from tune to fit: {', '.join(sorted(moved))}")
    return Mixed(mixed, index, facts)


def score(options: argparse.Namespace) -> str:
    """Writes the shipped network, its scores and its README; returns the table.

    Raises:
        CheckpointError: the network is too large to be shipped.
        DatasetError: it was trained on other photographs.
    """
    trained = read_checkpoint(options.trained)
    archive_digest = sha256_of_file(options.dataset)
    trained_on = trained.provenance.get("data", {}).get("photographs", {}).get("sha256", archive_digest)
    if trained_on != archive_digest:
        raise DatasetError(
            f"{options.dataset} has SHA-256 {archive_digest}, {options.trained} learnt from {trained_on}"
        )
    shipped = {"base": SHIPPED_BASE, "pruned": SHIPPED_SMALL}[options.name]
    content = to_bytes(trained.network, trained.provenance, half=True)
    if len(content) > MAX_BYTES:
        raise CheckpointError(f"the network has {len(content)} bytes, at most {MAX_BYTES} are shipped")
    shipped.parent.mkdir(exist_ok=True)
    unseen = write_synthetic_archive(
        options.cache / "unseen-portraits.zip", train=5, val=UNSEEN_PORTRAITS, size=UNSEEN_SIZE, seed=0
    )
    with TemporaryDirectory() as temporary:
        rounded = Path(temporary, shipped.name)
        rounded.write_bytes(content)
        network = load(rounded)
    scores = []
    for data, archive, splits in (("photographs", options.dataset, ("tune", "val")), ("rendered", unseen, ("val",))):
        folder, index = extracted(archive, options.cache)
        for split, protocol in itertools.product(splits, PROTOCOLS):
            predictor = TorchPredictor(network, protocol, options.device)
            found = evaluate(predictor, folder, index, split, protocol, ALL_METRICS)  # type: ignore[arg-type]
            errors = {
                name: {"mean": one.mean, "low": one.low, "high": one.high} for name, one in intervals(found).items()
            }
            scores.append(
                {"data": data, "split": split, "protocol": protocol, "images": found.images, "errors": errors}
            )
    cost = complexity(network)
    record = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "parameters": cost.parameters,
        "macs": cost.macs,
        "made": trained.provenance,
        "scores": scores,
    }
    unpruned = None if options.name == "base" else json.loads(SHIPPED_BASE.with_suffix(".json").read_text())
    table = _table(record, unpruned)
    card = shipped.with_name("README.md")
    written = re.compile(rf"(?<=<!-- scores of {options.name} -->\n).*?(?=<!-- end of scores -->)", re.DOTALL)
    write_atomically(shipped, content)
    write_atomically(shipped.with_suffix(".json"), json.dumps(record, indent=1).encode() + b"\n")
    write_atomically(card, written.sub(lambda _: f"\n{table}\n\n", card.read_text(encoding="utf-8")).encode())
    return table


def _table(record: dict[str, Any], unpruned: dict[str, Any] | None) -> str:
    """What a reader of the README wants of a record; errors as multiples of the unpruned network's, where given."""
    from tasks.tables import markdown_table  # which draws as well: training has no matplotlib

    def times(one: dict[str, Any], error: str, unpruned: dict[str, Any]) -> str:
        names = ("data", "split", "protocol", "images")
        found = [other for other in unpruned["scores"] if all(other[name] == one[name] for name in names)]
        return f"{one['errors'][error]['mean'] / found[0]['errors'][error]['mean']:.2f}" if found else ""

    rows = []
    for one in record["scores"]:
        ratios = (
            {f"{error.upper()} × base": times(one, error, unpruned) for error in ("mse", "mad")} if unpruned else {}
        )
        errors = one["errors"]
        low, high = errors["mse"]["low"], errors["mse"]["high"]
        rows.append(
            {
                "images": f"{one['images']} {one['data']}, {one['split']}",
                "protocol": f"`{one['protocol']}`",
                "MSE (95 %)": f"{errors['mse']['mean']:.4f} ({low:.4f}–{high:.4f})",
                "MAD": f"{errors['mad']['mean']:.4f}",
                "SAD k": f"{errors['sad']['mean']:.2f}",
                "Grad k": f"{errors['grad']['mean']:.2f}",
                "Conn k": f"{errors['conn']['mean']:.2f}",
                **ratios,
            }
        )
    made = record["made"].get("result", {}) | record["made"].get("machine", {})
    facts = f"{record['bytes'] / 1e6:.2f} MB, {record['parameters'] / 1e6:.3f} M parameters deployed, "
    facts += f"{record['macs'] / 1e9:.2f} GMAC at 512×512."
    if made:
        facts += (
            f" Trained in {made['seconds'] / 3600:.2f} h ({made['precision']}, {made['device']}) on "
            f"{made['images_seen']} samples"
        )
        facts += f"; kept: epoch {made['best_epoch']}." if "best_epoch" in made else "."
    return f"{markdown_table(rows)}\n\n{facts}"


def _summary(report: TrainingReport) -> dict[str, Any]:
    best = report.best_epoch
    return {
        "steps": report.steps,
        "images_seen": report.images_seen,
        "best_epoch": best,
        "tune_error": None if best is None else report.history[best - 1].tune_error,
        "precision": report.precision,
        "seconds": round(report.seconds, 1),
    }


def _machine(device: str) -> dict[str, str]:
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else f"CPU, {platform.machine()}"
    return {"device": name, "torch": torch.__version__, "opencv": cv2.__version__}


def _copy(pair: Pair, source: Path, split: Path) -> None:
    for part, path in (("fg", pair.image), ("alpha", pair.matte)):
        target = split / part / Path(path).name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, target)


if __name__ == "__main__":
    raise SystemExit(main())
