"""How long `modnet infer photo.jpg` takes, start included, and where the time goes.

python -m benchmarks.first_cutout

Every run is a process of its own, in an empty cache folder at first: `first` compiles the network, the others take the
compiled one that it kept. Wall time is that of the whole process; CPU time counts all its threads, so it says what the
same run would take where nothing else runs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.inputs import PROJECT
from modnet.data.images import write_png
from modnet.shipped import FRONT, USUAL
from modnet.workloads.matting.data.synthetic import render_portrait
from tasks.tables import markdown_table

SIZES = {"portrait": (825, 550), "landscape": (550, 825)}  # height and width, as the photographs of the data have
_STAGES = """
import json, sys, time
laps = []
def lap(stage, began=[time.perf_counter(), time.process_time()]):
    now = [time.perf_counter(), time.process_time()]
    laps.append([stage, *(1000 * (after - before) for before, after in zip(began, now))])
    began[:] = now
import numpy; lap("import numpy")
import cv2, PIL.Image; lap("import OpenCV, Pillow")
import openvino; lap("import OpenVINO")
from pathlib import Path
from infra.settings import Settings
from modnet.data.images import read_image, write_png
from modnet.workloads.matting.predict.composition import cutout
from modnet.workloads.matting.predict.front_predictor import FrontPredictor
import tasks.cli.infer, tasks.cli.light_verbs
lap("import of ours")
photo, model = Path(sys.argv[1]), sys.argv[2]
image = read_image(photo); lap("read the photograph")
predictor = FrontPredictor(model, kept=Settings.from_env().cache_folder / "compiled")
alpha = predictor(image); lap("read or compile the network, first matte")
alpha = predictor(image); lap("a further matte")
picture = cutout(image, alpha); lap("colours of the cut-out")
write_png(photo.with_suffix(".stages.png"), picture); lap("write the PNG")
print(json.dumps(laps))
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints both tables."""
    parser = argparse.ArgumentParser(description="Times `modnet infer photo.jpg` from start to end.")
    parser.add_argument("--repeats", type=int, default=5, help="runs after the first one (default: 5)")
    options = parser.parse_args(arguments)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rows = []
        for direction, size in SIZES.items():
            photo = folder / f"{direction}.png"
            write_png(photo, render_portrait(np.random.default_rng(0), size)[0])
            for model in FRONT:
                cache = folder / f"cache-{model}-{direction}"
                runs = [_run(photo, model, cache) for _ in range(1 + options.repeats)]
                rows.append(
                    {
                        "picture": direction,
                        "`--model`": model,
                        "first: wall, s": f"{runs[0][0]:.2f}",
                        "first: CPU, s": f"{runs[0][1]:.2f}",
                        "later: wall, s": f"{median(wall for wall, _ in runs[1:]):.2f}",
                        "later: CPU, s": f"{median(cpu for _, cpu in runs[1:]):.2f}",
                    }
                )
        first = _stages(folder / "portrait.png", folder / "cache-stages")
        later = [_stages(folder / "portrait.png", folder / "cache-stages") for _ in range(options.repeats)]
        stages = [
            {
                "stage": stage,
                "first: CPU, ms": f"{first[stage]:.0f}",
                "later: CPU, ms": f"{median(one[stage] for one in later):.0f}",
            }
            for stage in first
        ]
    print(markdown_table(rows), markdown_table(stages), sep="\n\n")
    return 0


def _run(photo: Path, model: str, cache: Path) -> tuple[float, float]:
    """Wall and CPU seconds of one process."""
    command = [sys.executable, "-m", "tasks.cli", "infer", str(photo), "--model", model, "--overwrite"]
    used, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=PROJECT, env=_environment(cache), check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime - used.ru_utime + after.ru_stime - used.ru_stime


def _stages(photo: Path, cache: Path) -> dict[str, float]:
    """CPU milliseconds of each stage of one process, by `--model balanced`."""
    command = [sys.executable, "-c", _STAGES, str(photo), USUAL]
    done = subprocess.run(command, cwd=PROJECT, env=_environment(cache), check=True, stdout=subprocess.PIPE, text=True)
    return {stage: cpu for stage, _, cpu in json.loads(done.stdout)}


def _environment(cache: Path) -> dict[str, str]:
    return os.environ | {"MODNET_CACHE": str(cache)}


if __name__ == "__main__":
    raise SystemExit(main())
