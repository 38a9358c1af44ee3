"""The ONNX file is the network: same values, same names, whole or absent."""

import filecmp
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from modnet.errors import ConfigError, ExportError
from modnet.export.openvino_graph import OpenvinoGraph
from modnet.export.torch_to_onnx import export_onnx
from modnet.graph_function import TorchGraph
from modnet.workloads.matting.network.modnet import MODNet


def evaluated_by_definition(path: Path, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Alpha as ONNX's own reference implementation computes it, independent of torch and OpenVINO."""
    model = onnx.load(path)
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            for attribute in node.attribute:
                if attribute.name == "momentum":
                    attribute.f = 1.0  # otherwise the reference mixes the batch's statistics in, below opset 14
    return ReferenceEvaluator(model).run(None, {"input": pixels})[0]


def test_export_onnx_equals_network_when_run_by_onnx_reference(any_exported, pixels: list[NDArray[np.float32]]) -> None:
    wanted = TorchGraph(any_exported.network)(pixels[0])
    assert wanted.std() > 0.01
    got = evaluated_by_definition(any_exported.onnx_path, pixels[0])
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4)


def test_export_onnx_states_names_opset_and_fixed_shape(exported) -> None:
    model = onnx.load(exported.onnx_path)
    assert [entry.version for entry in model.opset_import] == [11]
    ports = [*model.graph.input, *model.graph.output]
    assert [port.name for port in ports] == ["input", "output"]
    shapes = [[dimension.dim_value for dimension in port.type.tensor_type.shape.dim] for port in ports]
    assert shapes == [[1, 3, 64, 64], [1, 1, 64, 64]]


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (2, 3, 32, 96), (1, 3, 160, 128)], ids=str)
def test_export_onnx_equals_network_at_every_size_when_dynamic(exported_dynamic, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)
    got = OpenvinoGraph(exported_dynamic.onnx_path)(pixels)
    np.testing.assert_allclose(got, TorchGraph(exported_dynamic.network)(pixels), rtol=0, atol=1e-4)


def test_export_onnx_neither_changes_nor_heeds_mode_and_dtype_of_network(
    exported, network: MODNet, tmp_path: Path
) -> None:
    network.double().train()
    network.backbone.stem.eval()  # frozen by a trainer
    modes = [module.training for module in network.modules()]
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    path = export_onnx(network, tmp_path / "again.onnx", size=64)
    assert filecmp.cmp(path, exported.onnx_path, shallow=False)
    assert [module.training for module in network.modules()] == modes
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == state[name].dtype
        assert torch.equal(tensor, state[name]), name


def test_export_onnx_shows_tracer_warning_when_it_blames_a_line_outside_torch(network: MODNet, tmp_path: Path) -> None:
    network.fusion.register_forward_hook(lambda module, inputs, alpha: alpha if alpha.sum() > 0 else -alpha)
    with pytest.warns(torch.jit.TracerWarning, match="Python boolean"):
        export_onnx(network, tmp_path / "modnet.onnx", size=64)


@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
def test_export_onnx_raises_and_keeps_old_file_when_a_weight_is_not_finite(
    network: MODNet, tmp_path: Path, value: float
) -> None:
    path = tmp_path / "modnet.onnx"
    path.write_text("yesterday's")
    with torch.no_grad():
        network.detail.hr4x[1].conv.weight[0, 0, 0, 0] = value
    with pytest.raises(ExportError, match=r"1 of \d+ values of tensor 'detail.hr4x.1.conv.weight'"):
        export_onnx(network, path, size=64)
    assert path.read_text() == "yesterday's"


@pytest.mark.parametrize("size", [0, -32, 100], ids=str)
def test_export_onnx_raises_when_size_is_no_multiple_of_32(network: MODNet, tmp_path: Path, size: int) -> None:
    with pytest.raises(ConfigError, match=f"got {size}"):
        export_onnx(network, tmp_path / "modnet.onnx", size=size)


def test_export_onnx_raises_and_leaves_nothing_when_a_folder_is_in_the_way(network: MODNet, tmp_path: Path) -> None:
    (tmp_path / "modnet.onnx").mkdir()
    with pytest.raises(ExportError, match="cannot write"):
        export_onnx(network, tmp_path / "modnet.onnx", size=64)
    assert [path.name for path in tmp_path.iterdir()] == ["modnet.onnx"]
