"""INT8: quantised, close to the network on real tensors, reproducible, quiet."""

import filecmp
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from numpy.typing import NDArray

from modnet.configs import AdaptivePolicy, PruningConfig
from modnet.export.export import ExportReport, export_network
from modnet.export.onnx_to_openvino import convert_ir
from modnet.pruning.plan import plan_pruning
from modnet.pruning.surgery import apply_plan
from modnet.workloads.matting.network.spec import ModnetSpec
from tests.unit.modnet.random_network import random_network

Pixels = list[NDArray[np.float32]]


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    """Four network inputs, (1, 3, 64, 64) in [-1, 1]."""
    generator = np.random.default_rng(0)
    return [generator.uniform(-1, 1, (1, 3, 64, 64)).astype(np.float32) for _ in range(4)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def report(folder: Path, pixels: Pixels) -> ExportReport:
    """What the export of a network with odd channel counts says."""
    network = random_network(ModnetSpec.tiny())
    config = PruningConfig(
        policy=AdaptivePolicy(backbone_threshold=0.3, global_ratio=0.3), channel_multiple=1, min_channels=1
    )
    pruned = apply_plan(network, plan_pruning(network, config))
    assert pruned.spec.f2x.total % 2
    return export_network(
        pruned,
        folder,
        size=64,
        targets=["cpu-fp32", "cpu-fp16", "cpu-int8"],
        calibration=pixels,
        parity_images=pixels,
    )


def test_export_network_stays_close_to_the_network_when_quantised(report: ExportReport) -> None:
    assert set(report.parity) == {"onnx", "cpu-fp32", "cpu-fp16", "cpu-int8"}
    assert report.parity["cpu-fp16"].mean_difference < report.parity["cpu-int8"].mean_difference < 0.02


def test_export_network_stores_bytes_when_quantised(report: ExportReport, folder: Path) -> None:
    sizes = {name: file.size_bytes for name, file in report.files.items()}
    assert sizes["modnet-cpu-int8.bin"] < 0.6 * sizes["modnet-cpu-fp32.bin"]
    operations = [
        operation.get_type_name() for operation in ov.Core().read_model(folder / "modnet-cpu-int8.xml").get_ops()
    ]
    assert operations.count("FakeQuantize") > 20


def test_export_network_makes_the_head_a_product_of_8_bit_weights(report: ExportReport, folder: Path) -> None:
    model = ov.Core().read_model(folder / "modnet-cpu-int8.xml")
    (head,) = (one for one in model.get_ops() if one.get_friendly_name() == "/fusion/head/Conv/WithoutBiases/Product")
    scaled = head.input_value(1).get_node()  # int8 → float → times the step
    assert scaled.input_value(0).get_node().input_value(0).get_element_type() == ov.Type.i8


def test_convert_ir_writes_equal_files_and_prints_nothing_when_int8_is_repeated(
    report: ExportReport, folder: Path, pixels: Pixels, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ir = convert_ir(folder / "modnet.onnx", tmp_path, targets=["cpu-int8"], calibration=pixels)["cpu-int8"]
    assert capfd.readouterr() == ("", "")
    for path in (ir.xml, ir.bin):
        assert filecmp.cmp(path, folder / path.name, shallow=False), path.name


def test_export_network_rounds_nothing_within_norms_and_depthwise_weights_too(
    report: ExportReport, folder: Path
) -> None:
    model = ov.Core().read_model(folder / "modnet-cpu-int8.xml")
    for operation in model.get_ordered_ops():
        if operation.get_type_name() == "MVN":
            assert operation.input_value(0).get_node().get_type_name() != "FakeQuantize", operation.get_friendly_name()
        if operation.get_type_name() == "GroupConvolution":
            scaled = operation.input_value(1).get_node()  # int8 → float → times the channel's step
            stored = scaled.input_value(0).get_node().input_value(0).get_node()
            assert stored.get_element_type() == ov.Type.i8, operation.get_friendly_name()
