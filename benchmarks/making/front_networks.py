"""The networks of the front: the headline, trained on for the input that each will have, with a teacher's mattes too.

modnet dataset pseudo-label --dataset portraits.zip --images photos --teacher … --out more
python -m benchmarks.making.front_networks --dataset more --out front [--only headline-384x256 …]

Each starts from the headline of `benchmarks.retraining`, whose weights are in `benchmarks/results/retraining/`. Crops
show nearly the whole image, at the scale of use. The averaged weights of the best epoch on *tune* are kept, scored in
the letterbox of the input. *val* is not looked at. When it is killed, the same command goes on. What is made lies in
`benchmarks/results/front/`: weights in half precision, the curve, and a record.

`--base modnet.ckpt` is for the control `base-480x320`: the unpruned network, trained on in the same way. Its weights
stay in `--out`.

`shipped-fast` and `shipped-balanced` go on from two of these with rendered portraits among the images, which the others
have never seen: on these they lose a torso. Their weights stay in `--out`, and `benchmarks.making.front` makes of them
what is shipped.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch

from benchmarks.inputs import RESULTS, extracted, require_same
from benchmarks.making.shipped_base import PORTRAIT_SEED, PORTRAIT_SIZE
from modnet.checkpoint import save_checkpoint
from modnet.configs.shape import shown
from modnet.data.download import sha256_of_file
from modnet.files import write_atomically
from modnet.targets import Shape
from modnet.training.state import TrainingState
from modnet.workloads.matting.checkpoint import load
from modnet.workloads.matting.data.indexing import PSEUDO
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.portraits import Portraits
from modnet.workloads.matting.pseudo_labels import RECORD
from modnet.workloads.matting.settings import AugmentationConfig, MattingRetraining
from modnet.workloads.matting.workload import MATTING
from tasks.training_run import run_training

HEADLINE = RESULTS / "retraining" / "headline.safetensors"
FRONT = RESULTS / "front"


class Training(NamedTuple):
    """A network of the front: where it starts (None: from the unpruned one), what it reads, and how it is trained."""

    start: Path | None
    shape: Shape
    config: MattingRetraining
    rendered: int = 0


_CONFIG = MattingRetraining(
    epochs=8,
    batch_size=8,
    image_size=None,
    learning_rate=7e-4,
    average_decay=0.995,
    validation_images=80,
    augmentation=AugmentationConfig(smallest_crop=0.6, largest_crop=1.1),
)
_FIXED = _CONFIG.model_copy(update={"freeze_backbone": True})
_SHORT = {"epochs": 4, "learning_rate": 3e-4}
TRAININGS: Mapping[str, Training] = {
    "headline-256x160": Training(HEADLINE, (256, 160), _CONFIG),  # small people: the backbone learns them anew
    "headline-384x256": Training(HEADLINE, (384, 256), _FIXED),
    "headline-480x320": Training(HEADLINE, (480, 320), _FIXED.model_copy(update={"epochs": 4})),
    "headline-576x384": Training(
        FRONT / "headline-480x320.safetensors", (576, 384), _CONFIG.model_copy(update={"epochs": 12})
    ),
    "base-480x320": Training(None, (480, 320), _FIXED.model_copy(update={"epochs": 4})),
    "shipped-fast": Training(
        FRONT / "headline-256x160.safetensors", (256, 160), _CONFIG.model_copy(update=_SHORT), rendered=240
    ),
    "shipped-balanced": Training(
        FRONT / "headline-384x256.safetensors", (384, 256), _CONFIG.model_copy(update=_SHORT), rendered=240
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains what is missing."""
    parser = argparse.ArgumentParser(description="Trains the networks of the front.")
    parser.add_argument("--dataset", type=Path, required=True, help="folder that `dataset pseudo-label` wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder for states of training")
    parser.add_argument("--base", type=Path, help="unpruned checkpoint, for the control")
    parser.add_argument("--only", nargs="+", choices=TRAININGS, help="(default: all, the control with --base)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    options = parser.parse_args(arguments)
    for folder in (options.out, FRONT):
        folder.mkdir(parents=True, exist_ok=True)
    for name in options.only or TRAININGS:
        training = TRAININGS[name]
        start = training.start or options.base
        if start is not None:
            data = Portraits(_with_rendered(options.dataset, training.rendered, options.out))
            make(name, training, start, data, options.out, options.device)
        elif options.only:
            parser.error(f"{name} starts from the unpruned network: say --base")
    return 0


def _with_rendered(dataset: Path, count: int, out: Path) -> Path:
    """The data set, or one below `out` that has rendered portraits in *fit* as well."""
    if not count:
        return dataset
    mixed = out / f"rendered-{count}"
    if not mixed.exists():
        with TemporaryDirectory(prefix=".rendered-", dir=out) as temporary:
            content, archive = Path(temporary, "content"), Path(temporary, "portraits.zip")
            shutil.copytree(dataset, content)
            write_synthetic_archive(archive, train=count, val=1, size=PORTRAIT_SIZE, seed=PORTRAIT_SEED)
            folder, drawn = extracted(archive, Path(temporary))
            for pair in drawn.train:
                for kind, path in (("fg", Path(pair.image)), ("alpha", Path(pair.matte))):
                    shutil.copy(folder / path, content / PSEUDO / kind / f"rendered-{path.name}")
            content.rename(mixed)
    return mixed


def make(name: str, training: Training, start: Path, data: Portraits, out: Path, device: str) -> None:
    """Trains one network, unless it is there.

    Raises:
        ConfigError: it is there, made of another question.
    """
    shape, config = training.shape, training.config
    state = out / f"{name}.training-state"
    question = {
        "start": sha256_of_file(start),
        "data": sha256_of_file(data.folder / RECORD),
        "images": len(data.names("fit")),
        "input": shown(shape),
        "training": config.model_dump(mode="json"),
        "seed": 0,
    } | ({"rendered": training.rendered} if training.rendered else {})
    record = FRONT / f"{name}.json"
    if record.exists():
        require_same(question, json.loads(record.read_text()), record, "--only")
        return

    def save(reached: TrainingState) -> None:
        write_atomically(state, reached.to_bytes())

    network = load(start)
    saved = state.read_bytes() if state.exists() else None
    report = run_training(
        network, MATTING, data, config, seed=0, device=device, save=save, saved=saved, shapes=(shape,)
    )
    folder = FRONT if training.start is not None and not training.rendered else out  # what ships lies where it ships
    save_checkpoint(network, folder / f"{name}.safetensors", question, half=True)
    curve = "".join(f"{epoch.model_dump_json()}\n" for epoch in report.history)
    write_atomically(FRONT / f"{name}.training.jsonl", curve.encode())
    best = report.history[(report.best_epoch or len(report.history)) - 1]
    told = {
        "tune_error": best.tune_error,
        "best_epoch": report.best_epoch,
        "images_seen": report.images_seen,
        "precision": report.precision,
        "seconds": round(report.seconds, 1),
        "torch": str(torch.__version__),
    }
    write_atomically(record, json.dumps(question | told, indent=1).encode())
    state.unlink(missing_ok=True)


if __name__ == "__main__":
    raise SystemExit(main())
