"""Golden images and the precision of the execution on Python 3.9 with the old OpenVINOs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from openvino import opset6

from modnet.export.export import export_network
from modnet.export.golden import golden_images as golden_of
from modnet.export.golden import write_golden
from modnet.export.legacy_runtimes import LegacyRuntime
from modnet.graph_function import TorchGraph
from modnet.targets import LEGACY_RUNTIMES
from modnet.workloads.classification.network import MobileNetV2, MobileNetV2Spec
from modnet.workloads.classification.synthetic import golden_images

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".modnet" / "legacy"
CHECK = """
import json, sys
from pathlib import Path
from infra.device.documents.manifest import Golden
from infra.device.measuring.golden import check_golden
from infra.device.measuring.runtime import load_ir
model = load_ir(Path(sys.argv[1]), precision="f32")
check = check_golden(model, Path(sys.argv[2]), Golden("golden.npz", 1e-4))
print(json.dumps([model.precision, check.images_count, check.worst_difference]))
"""

pytestmark = pytest.mark.skipif(
    not (FOLDER / "agent").is_dir() or not all(LegacyRuntime(FOLDER, one).is_installed for one in LEGACY_RUNTIMES),
    reason="the old runtimes are not installed: make legacy-runtimes",
)


@pytest.mark.parametrize("version", LEGACY_RUNTIMES)
@pytest.mark.parametrize("wrong_by", [0.0, 0.25])
def test_an_old_runtime_runs_in_f32_and_tells_how_far_it_is_off(tmp_path: Path, version: str, wrong_by: float) -> None:
    generator = np.random.default_rng(0)
    weights = generator.normal(0, 0.1, (4, 3, 3, 3)).astype(np.float32)
    image = opset6.parameter([1, 3, 32, 32], np.float32, name="input")
    found = opset6.convolution(image, opset6.constant(weights), [1, 1], [1, 1], [1, 1], [1, 1])
    network = openvino.Model([opset6.result(found)], [image], "convolution")
    ir_xml = tmp_path / "network.xml"
    openvino.serialize(network, ir_xml, version="IR_V10")
    inputs = generator.uniform(-1, 1, (2, 3, 32, 32)).astype(np.float32)
    compiled = openvino.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    outputs = np.concatenate([compiled(one[None])[0] for one in inputs])
    np.savez_compressed(tmp_path / "golden.npz", inputs=inputs, outputs=outputs + np.float32(wrong_by))

    precision, images_count, worst_difference = checked(version, ir_xml, tmp_path / "golden.npz")
    assert (precision, images_count) == ("f32", 2)
    assert worst_difference == pytest.approx(wrong_by, abs=1e-5)


@pytest.mark.parametrize("version", LEGACY_RUNTIMES)
def test_an_old_runtime_computes_the_logits_of_a_classifier(tmp_path: Path, version: str) -> None:
    torch.manual_seed(0)
    network = MobileNetV2(MobileNetV2Spec.tiny(("cat", "dog", "cow"))).eval()
    pixels = golden_images((64, 64))
    parity = [one[None] for one in pixels]
    export_network(network, tmp_path / "out", size=64, targets=("ncs2-fp16",), parity_images=parity)
    write_golden(tmp_path / "golden.npz", golden_of(pixels, TorchGraph(network)), "float-nchw")
    precision, images_count, worst_difference = checked(
        version, tmp_path / "out/modnet-ncs2-fp16.xml", tmp_path / "golden.npz"
    )
    assert (precision, images_count) == ("f32", 4)
    assert worst_difference < 1e-3  # rounded weights


def checked(version: str, ir_xml: Path, golden: Path) -> tuple[str, int, float]:
    """What the agent's code finds on an old runtime: the precision, the number of images, the worst difference."""
    modules = [ROOT, FOLDER / f"openvino-{version}", FOLDER / "agent"]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, modules))}
    command = [str(FOLDER / "python3.9"), "-c", CHECK, str(ir_xml), str(golden)]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    precision, images_count, worst_difference = json.loads(ended.stdout)
    return precision, images_count, worst_difference
