"""A process that has used OpenVINO still survives a signal with a handler.

In processes of their own: what is looked for would take pytest down with it.
"""

import subprocess
import sys

import pytest

from modnet.export.onnx_to_openvino import convert_ir
from modnet.export.torch_to_onnx import export_onnx
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec

EXPORT = """
from pathlib import Path
import numpy as np
from modnet.export.onnx_to_openvino import convert_ir
from modnet.export.openvino_graph import OpenvinoGraph
folder = Path({folder!r})
calibration = [np.random.default_rng(i).uniform(-1, 1, (1, 3, 64, 64)).astype(np.float32) for i in range(3)]
files = convert_ir(folder / "modnet.onnx", folder / "again", targets=["cpu-fp32", "cpu-int8"], calibration=calibration)
held = [OpenvinoGraph(ir.xml) for ir in files.values()]
"""
AGENT = """
from pathlib import Path
from infra.device.measuring.runtime import load_ir
held = [load_ir(Path({folder!r}) / "modnet-cpu-fp32.xml") for _ in range(2)]
"""
RELEASE_AND_SIGNAL = """
import signal
while held:
    del held[0]
signal.signal(signal.SIGUSR1, lambda *_: print("survived"))
signal.raise_signal(signal.SIGUSR1)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("signals")
    onnx_path = export_onnx(MODNet(ModnetSpec.tiny()).eval(), folder / "modnet.onnx", size=64)
    convert_ir(onnx_path, folder, targets=["cpu-fp32"])
    return str(folder)


@pytest.mark.parametrize("script", [pytest.param(EXPORT, id="export"), pytest.param(AGENT, id="agent")])
def test_process_survives_a_signal_when_its_models_went_in_the_order_they_came(script: str, folder: str) -> None:
    code = script.format(folder=folder) + RELEASE_AND_SIGNAL
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.strip().splitlines()[-1:]) == (0, ["survived"]), done.stderr[-2000:]
