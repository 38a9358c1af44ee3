"""Torch, ONNX and IR predict the same alpha; what cannot be run says so."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from modnet.data.images import Image
from modnet.errors import ConfigError, ExportError
from modnet.export.onnx_to_openvino import IrFiles, convert_ir
from modnet.export.openvino_graph import OpenvinoGraph
from modnet.export.torch_to_onnx import export_onnx
from modnet.targets import Target
from modnet.workloads.matting.data.protocols import Protocol
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.predict.openvino_predictors import IrPredictor, OnnxPredictor
from modnet.workloads.matting.predict.predictors import TorchPredictor

Pixels = list[NDArray[np.float32]]


@pytest.fixture
def image() -> Image:
    """A portrait-shaped gradient with noise, (70, 50, 3)."""
    ramp = np.linspace(0, 200, 70)[:, None, None] + np.random.default_rng(0).uniform(0, 55, (70, 50, 3))
    return ramp.astype(np.uint8)


@pytest.fixture(scope="module")
def ir(exported, tmp_path_factory: pytest.TempPathFactory) -> IrFiles:
    return convert_ir(exported.onnx_path, tmp_path_factory.mktemp("ir"), targets=["cpu-fp32"])["cpu-fp32"]


@pytest.fixture
def own_ir(ir: IrFiles, tmp_path: Path) -> Path:
    """The .xml of a copy that the test may damage."""
    shutil.copy(ir.bin, tmp_path)
    return Path(shutil.copy(ir.xml, tmp_path))


def test_predictors_agree_when_protocol_is_device_512(network: MODNet, image: Image, tmp_path: Path) -> None:
    onnx_path = export_onnx(network, tmp_path / "modnet.onnx", size=512)
    files = convert_ir(onnx_path, tmp_path / "ir", targets=["cpu-fp32"])["cpu-fp32"]
    wanted = TorchPredictor(network, "device-512")(image)
    assert (wanted.shape, wanted.dtype) == ((70, 50), np.float32)
    assert 0 <= wanted.min() < wanted.max() <= 1
    for predictor in (OnnxPredictor(onnx_path, "device-512"), IrPredictor(files.xml)):
        np.testing.assert_allclose(predictor(image), wanted, rtol=0, atol=1e-3)


def test_onnx_predictor_agrees_with_torch_when_sizes_are_open(exported_dynamic, image: Image) -> None:
    wanted = TorchPredictor(exported_dynamic.network, "aspect")(image)
    got = OnnxPredictor(exported_dynamic.onnx_path, "aspect")(image)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-3)


@pytest.mark.parametrize("protocol", ["modelcompression", "aspect", "device-512"])
def test_ir_predictor_raises_when_fixed_size_does_not_fit_protocol(ir: IrFiles, protocol: Protocol) -> None:
    with pytest.raises(ConfigError, match=f"reads 64×64 pixels only, got protocol '{protocol}'"):
        IrPredictor(ir.xml, protocol)


def test_onnx_predictor_raises_when_fixed_size_does_not_fit_protocol(exported) -> None:
    with pytest.raises(ConfigError, match="reads 64×64 pixels only, got protocol 'aspect'"):
        OnnxPredictor(exported.onnx_path, "aspect")


def test_openvino_matte_keeps_a_result_when_it_runs_again(exported, pixels: Pixels) -> None:
    matte = OpenvinoGraph(exported.onnx_path)
    first = matte(pixels[0])
    kept = first.copy()
    assert not np.array_equal(matte(pixels[1]), kept)
    np.testing.assert_array_equal(first, kept)


def test_openvino_matte_raises_when_pixels_have_another_size(ir: IrFiles) -> None:
    with pytest.raises(ConfigError, match="reads pixels of shape 1 × 3 × 64 × 64, got 1 × 3 × 96 × 64"):
        OpenvinoGraph(ir.xml)(np.zeros((1, 3, 96, 64), dtype=np.float32))


@pytest.mark.parametrize("suffix", [".xml", ".bin"])
def test_ir_predictor_raises_when_a_file_is_missing(own_ir: Path, suffix: str) -> None:
    missing = own_ir.with_suffix(suffix)
    missing.unlink()
    with pytest.raises(ExportError, match=f"there is no file {missing}"):
        IrPredictor(own_ir)


@pytest.mark.parametrize("suffix", [".xml", ".bin"])
@pytest.mark.parametrize("kept", [0, 1000], ids=["empty", "cut-off"])
def test_ir_predictor_raises_when_a_file_is_damaged(own_ir: Path, suffix: str, kept: int) -> None:
    damaged = own_ir.with_suffix(suffix)
    damaged.write_bytes(damaged.read_bytes()[:kept])
    with pytest.raises(ExportError, match="cannot load"):
        IrPredictor(own_ir)


def test_onnx_predictor_raises_when_graph_is_no_matting_network(tmp_path: Path) -> None:
    ports = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, 64, 64]) for name in ("a", "b")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["a"], ["b"])], "relu", ports[:1], ports[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 11)], ir_version=8)
    onnx.save(model, tmp_path / "relu.onnx")
    with pytest.raises(ExportError, match="no matting network"):
        OnnxPredictor(tmp_path / "relu.onnx", "device-512")


@pytest.mark.parametrize("target", ["cpu-fp32", "ncs2-fp16"])
def test_ir_predictor_raises_when_the_bin_is_of_another_network(
    exported, exported_dynamic, tmp_path: Path, target: Target
) -> None:
    small, large = (
        convert_ir(one.onnx_path, tmp_path / name, targets=[target], size=64)[target]
        for name, one in (("odd", exported_dynamic), ("tiny", exported))
    )
    OpenvinoGraph(small.xml)
    sizes = small.bin.stat().st_size, large.bin.stat().st_size
    assert sizes[0] < sizes[1]
    large.bin.replace(small.bin)
    with pytest.raises(ExportError, match=f"its .bin has {sizes[1]} bytes, wanted {sizes[0]}"):
        IrPredictor(small.xml)
