"""Every IR is the same network; a failed conversion leaves nothing. (INT8 takes longer: tests/integration.)"""

import filecmp
from pathlib import Path
from typing import get_args

import numpy as np
import openvino as ov
import pytest
from numpy.typing import NDArray

from modnet.errors import ExportError
from modnet.export.onnx_to_openvino import VARIANTS, Precision, convert_ir
from modnet.export.parity import TOLERANCES, check_parity
from modnet.export.predictors import OpenvinoMatte, TorchMatte

Pixels = list[NDArray[np.float32]]
FLOATS: tuple[Precision, ...] = ("fp32", "fp16")
GOOD = np.zeros((1, 3, 64, 64), dtype=np.float32)


def test_variants_and_tolerances_cover_every_precision() -> None:
    assert set(VARIANTS) == set(get_args(Precision))
    assert set(TOLERANCES) == {*get_args(Precision), "onnx"}


def test_convert_ir_computes_the_network(any_exported, pixels: Pixels, tmp_path: Path) -> None:
    irs = convert_ir(any_exported.onnx_path, tmp_path / "ir", precisions=FLOATS)
    names = {path.name for path in (tmp_path / "ir").iterdir()}
    assert names == {"modnet-fp32.xml", "modnet-fp32.bin", "modnet-fp16.xml", "modnet-fp16.bin"}
    reference = TorchMatte(any_exported.network)
    for precision, ir in irs.items():
        maximum, mean = TOLERANCES[precision]
        check_parity(reference, OpenvinoMatte(ir.xml), pixels, max_tolerance=maximum, mean_tolerance=mean)
    assert irs["fp16"].bin.stat().st_size < 0.6 * irs["fp32"].bin.stat().st_size


def test_convert_ir_writes_equal_files_when_repeated(exported, tmp_path: Path) -> None:
    first, second = (convert_ir(exported.onnx_path, tmp_path / name, precisions=FLOATS) for name in "ab")
    for precision in FLOATS:
        assert filecmp.cmp(first[precision].xml, second[precision].xml, shallow=False), precision
        assert filecmp.cmp(first[precision].bin, second[precision].bin, shallow=False), precision


def test_convert_ir_keeps_layer_names_of_the_onnx_graph(exported, tmp_path: Path) -> None:
    ir = convert_ir(exported.onnx_path, tmp_path / "ir", precisions=["fp32"])["fp32"]
    names = {operation.get_friendly_name() for operation in ov.Core().read_model(ir.xml).get_ops()}
    assert "input" in names
    assert any(name.startswith("/backbone/stem/conv") for name in names)


def test_convert_ir_replaces_both_files_when_folder_holds_another_network(
    exported, exported_dynamic, pixels: Pixels, tmp_path: Path
) -> None:
    for onnx_path in (exported_dynamic.onnx_path, exported.onnx_path):
        ir = convert_ir(onnx_path, tmp_path / "ir", precisions=["fp32"])["fp32"]
    np.testing.assert_allclose(OpenvinoMatte(ir.xml)(pixels[0]), TorchMatte(exported.network)(pixels[0]), atol=1e-4)


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        (None, "at least 1 image"),
        ([], "at least 1 image"),
        ([GOOD, GOOD[:, :, :32]], r"image 1: wanted float32 \(1, 3, 64, 64\), got float32 \(1, 3, 32, 64\)"),
        ([GOOD.astype(np.float64)], "got float64"),
        ([GOOD + 255], r"wanted values in \[-1, 1\], got 255"),
        ([GOOD * np.nan], "got nan"),
    ],
    ids=["none", "empty", "shape", "dtype", "range", "nan"],
)
def test_convert_ir_raises_and_leaves_nothing_when_calibration_is_unfit(
    exported, tmp_path: Path, calibration: Pixels | None, message: str
) -> None:
    with pytest.raises(ExportError, match=message):
        convert_ir(exported.onnx_path, tmp_path / "ir", precisions=["fp32", "int8"], calibration=calibration)
    assert list(tmp_path.iterdir()) == []


def test_convert_ir_raises_when_int8_input_size_is_open(exported_dynamic, pixels: Pixels, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="fixed input size"):
        convert_ir(exported_dynamic.onnx_path, tmp_path / "ir", precisions=["int8"], calibration=pixels)


@pytest.mark.parametrize("precisions", [[], ["fp32", "bf16"]], ids=["none", "unknown"])
def test_convert_ir_raises_when_precisions_are_unfit(exported, tmp_path: Path, precisions: list[Precision]) -> None:
    with pytest.raises(ExportError, match="allowed: one or more of fp32, fp16, int8"):
        convert_ir(exported.onnx_path, tmp_path / "ir", precisions=precisions)


@pytest.mark.parametrize("kept", [None, 0, 5000], ids=["missing", "empty", "cut-off"])
def test_convert_ir_raises_and_leaves_nothing_when_onnx_is_damaged(exported, tmp_path: Path, kept: int | None) -> None:
    damaged = tmp_path / "damaged.onnx"
    if kept is not None:
        damaged.write_bytes(exported.onnx_path.read_bytes()[:kept])
    with pytest.raises(ExportError, match=r"damaged\.onnx"):
        convert_ir(damaged, tmp_path / "ir", precisions=["fp32"])
    assert set(tmp_path.iterdir()) <= {damaged}


@pytest.mark.parametrize("folder", ["file", "file/ir"], ids=["as-folder", "above-folder"])
def test_convert_ir_raises_when_a_file_is_in_the_way(exported, tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ExportError, match="cannot write the IR"):
        convert_ir(exported.onnx_path, tmp_path / folder, precisions=["fp32"])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
