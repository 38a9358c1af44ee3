"""What is written for old runtimes runs on them, and the compiler of the Neural Compute Stick 2 takes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import openvino.opset1 as opset1
import pytest
from numpy.typing import NDArray

from modnet.errors import ExportError
from modnet.export.legacy_runtimes import LegacyRuntime, verify_on_legacy
from modnet.export.onnx_to_openvino import IrFiles, convert_ir
from modnet.export.torch_to_onnx import export_onnx
from modnet.graph_function import TorchGraph, image_of, pixels_of
from modnet.targets import LEGACY_RUNTIMES, VARIANTS, InputFormat
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from tests.unit.modnet.random_network import random_network

FOLDER = Path(__file__).resolve().parents[2] / ".modnet" / "legacy"
NCS2 = VARIANTS["ncs2-fp16"]
OLDEST = LegacyRuntime(FOLDER, LEGACY_RUNTIMES[0])

pytestmark = pytest.mark.skipif(
    not all(LegacyRuntime(FOLDER, version).is_installed for version in LEGACY_RUNTIMES),
    reason="the old runtimes are not installed: make legacy-runtimes",
)


@pytest.fixture(scope="module")
def network() -> MODNet:
    return random_network(ModnetSpec.tiny())


@pytest.fixture(scope="module")
def images() -> list[NDArray[np.float32]]:
    """Network inputs that are whole steps of an image."""
    generator = np.random.default_rng(0)
    return [pixels_of(generator.integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)) for _ in range(2)]


def converted(network: MODNet, folder: Path, input_format: InputFormat = "float-nchw", *, dynamic: bool) -> IrFiles:
    onnx_path = export_onnx(network, folder / "modnet.onnx", size=64, dynamic=dynamic)
    return convert_ir(onnx_path, folder, targets=["ncs2-fp16"], size=64, input_format=input_format)["ncs2-fp16"]


@pytest.mark.parametrize(
    ("input_format", "dynamic"),
    [("float-nchw", False), ("uint8-nhwc", False), ("float-nchw", True)],
    ids=["pixels", "images", "from an open graph"],
)
def test_verify_on_legacy_is_ok_when_both_runtimes_and_the_compiler_take_the_ir(
    network: MODNet, images: list[NDArray[np.float32]], tmp_path: Path, input_format: InputFormat, dynamic: bool
) -> None:
    ir = converted(network, tmp_path, input_format, dynamic=dynamic)
    checks = verify_on_legacy(ir.xml, NCS2, TorchGraph(network), images, FOLDER)
    assert [(check.status, check.words) for check in checks] == [("ok", "")] * 3
    assert [check.by for check in checks[:2]] == ["OpenVINO 2021.4.2", "OpenVINO 2022.3.2"]
    assert all(0 < check.mean_difference < 2e-3 for check in checks[:2])
    assert checks[2].blob_bytes > 10_000
    assert checks[2].stages > 100


def test_verify_on_legacy_fails_with_the_numbers_when_the_matte_is_another(
    network: MODNet, images: list[NDArray[np.float32]], tmp_path: Path
) -> None:
    ir = converted(network, tmp_path, dynamic=False)
    checks = verify_on_legacy(ir.xml, NCS2, lambda pixels: np.zeros_like(pixels[:, :1]), images, FOLDER)
    assert [check.status for check in checks] == ["failed", "failed", "ok"]
    assert "modnet-ncs2-fp16.xml on OpenVINO 2021.4.2 differs from the network by" in checks[0].words


def test_verify_on_legacy_fails_with_the_runtimes_words_when_the_ir_is_of_today(
    network: MODNet, images: list[NDArray[np.float32]], tmp_path: Path
) -> None:
    onnx_path = export_onnx(network, tmp_path / "modnet.onnx", size=64)
    ir = convert_ir(onnx_path, tmp_path, targets=["cpu-fp32"])["cpu-fp32"]
    checks = verify_on_legacy(ir.xml, NCS2, TorchGraph(network), images, FOLDER)
    assert [check.status for check in checks] == ["failed"] * 3
    assert "Cannot find reader for model format: xml" in checks[0].words


def test_verify_on_legacy_fails_with_the_compilers_words_when_it_refuses_a_layer(tmp_path: Path) -> None:
    x = opset1.parameter([1, 3, 64, 64], np.float32, name="input")
    x.output(0).set_names({"input"})
    matte = opset1.reduce_mean(opset1.abs(x), np.int64([1]), keep_dims=True)
    model = ov.Model([matte], [x], "absolute")
    passes = ov.passes.Manager()
    passes.register_pass(ov.passes.Serialize(str(tmp_path / "abs.xml"), str(tmp_path / "abs.bin"), "IR_V10"))
    passes.run_passes(model)
    images = [np.full((1, 3, 64, 64), -0.5, np.float32)]

    def mean_of_absolute(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.abs(pixels).mean(axis=1, keepdims=True)

    checks = verify_on_legacy(tmp_path / "abs.xml", NCS2, mean_of_absolute, images, FOLDER)
    assert [check.status for check in checks] == ["ok", "ok", "failed"]
    assert 'unsupported layer type "Abs"' in checks[2].words


def test_run_raises_with_the_runtimes_words_when_the_bin_is_missing(
    network: MODNet, images: list[NDArray[np.float32]], tmp_path: Path
) -> None:
    ir = converted(network, tmp_path, dynamic=False)
    ir.bin.unlink()
    with pytest.raises(ExportError, match=r"OpenVINO 2021\.4\.2 cannot run modnet-ncs2-fp16\.xml: .*bin"):
        OLDEST.run(ir.xml, images[0])


def test_image_of_is_the_way_back_of_pixels_of() -> None:
    image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    np.testing.assert_array_equal(image_of(pixels_of(image)), image)
