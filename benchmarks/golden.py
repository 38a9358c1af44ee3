"""How far forms are off on golden images, in float32 and in bfloat16, and what tolerance follows.

python -m benchmarks.golden --work FOLDER [--networks shipped,shipped-pruned] [--shape 480x320]
ONEDNN_MAX_CPU_ISA=AVX2 python -m benchmarks.golden --work FOLDER      the same IRs, as a CPU without VNNI computes them

Mean absolute difference of the output of the worst image. INT8 is calibrated on drawn portraits.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from infra.device.documents.manifest import Golden
from infra.device.errors import ContractError
from infra.device.measuring.golden import check_golden
from infra.device.measuring.runtime import load_ir
from modnet.checkpoint import read_checkpoint
from modnet.configs.shape import shape_in
from modnet.export.export import export_network
from modnet.export.golden import golden_images, rounded_to_bfloat16, tolerance, worst_difference, write_golden
from modnet.graph_function import Pixels, TorchGraph, pixels_of
from modnet.targets import VARIANTS, Shape, Target
from modnet.workloads.matting.data.synthetic import golden_portraits, render_portrait
from modnet.workloads.matting.weights import checkpoint_path
from modnet.workloads.matting.workload import MATTING
from tasks.tables import markdown_table

TARGETS: tuple[Target, ...] = ("cpu-fp32", "cpu-fp16", "cpu-int8", "ncs2-fp16")
CALIBRATION = 16


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="How far forms are off on golden images.")
    parser.add_argument("--work", type=Path, required=True, help="folder where the IRs stay")
    parser.add_argument("--networks", default="shipped,shipped-pruned,shipped-fast,shipped-balanced")
    parser.add_argument("--shape", default="480x320", help="height x width (default: 480x320)")
    options = parser.parse_args(arguments)
    names, shape = options.networks.split(","), shape_in(options.shape)
    print(markdown_table([row for name in names for row in _rows(name, shape, options.work / name)]))
    return 0


def _rows(name: str, shape: Shape, folder: Path) -> list[dict[str, str]]:
    network = read_checkpoint(checkpoint_path(name), MATTING).network
    if not folder.exists():
        drawn = [_drawn(seed, shape) for seed in range(100, 100 + CALIBRATION)]
        export_network(network, folder, size=shape, targets=TARGETS, calibration=drawn, parity_images=drawn[:2])
    images = golden_images(golden_portraits(shape), TorchGraph(network))
    file = write_golden(folder.parent / f"{name}.npz", images, "float-nchw")
    emulated = worst_difference(images, rounded_to_bfloat16(network))
    rows = []
    for target in TARGETS:
        xml = folder / f"modnet-{target}.xml"
        in_float32 = _off(xml, file, "f32")
        try:
            in_bfloat16 = f"{_off(xml, file, 'bf16'):.1e}"
        except ContractError:  # oneDNN held to AVX2 has no bf16
            in_bfloat16 = ""
        rows.append(
            {
                "network": name,
                "target": target,
                "f32": f"{in_float32:.1e}",
                "tolerance": f"{tolerance(VARIANTS[target], in_float32, emulated):.1e}",
                "bf16": in_bfloat16,
                "bf16, emulated": f"{emulated:.1e}",
                "file kB": f"{file.stat().st_size / 1e3:.0f}",
            }
        )
    return rows


def _off(xml: Path, file: Path, precision: str) -> float:
    return check_golden(load_ir(xml, precision=precision), file, Golden(file.name, 0.5)).worst_difference


def _drawn(seed: int, shape: Shape) -> Pixels:
    return pixels_of(render_portrait(np.random.default_rng(seed), shape)[0][None])


if __name__ == "__main__":
    raise SystemExit(main())
