"""Every IR is the same network; a failed conversion leaves nothing. (INT8 takes longer: tests/integration.)"""

import filecmp
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import openvino as ov
import pytest
from numpy.typing import NDArray

from modnet.errors import ExportError
from modnet.export.graph_file import fixed_shape, read_onnx
from modnet.export.onnx_to_openvino import convert_ir
from modnet.export.openvino_graph import OpenvinoGraph
from modnet.export.parity import TOLERANCES, Tolerance, check_parity
from modnet.graph_function import GraphFunction, TorchGraph, image_of, pixels_of
from modnet.targets import CURRENT_RUNTIME, VARIANTS, InputFormat, Precision, Target

Pixels = list[NDArray[np.float32]]
FLOATS: tuple[Target, ...] = ("cpu-fp32", "cpu-fp16", "ncs2-fp16")
GOOD = np.zeros((1, 3, 64, 64), dtype=np.float32)


def test_variants_and_tolerances_cover_every_name() -> None:
    assert set(VARIANTS) == set(get_args(Target))
    assert set(TOLERANCES) == set(get_args(Precision))


def test_every_variant_runs_on_the_installed_runtime() -> None:
    assert ov.get_version().startswith(CURRENT_RUNTIME)
    assert all(CURRENT_RUNTIME in variant.runtimes for variant in VARIANTS.values())


def agree(reference: GraphFunction, path: Path, pixels: Pixels, precision: Precision) -> None:
    maximum, mean = TOLERANCES[precision]
    check_parity(reference, OpenvinoGraph(path), pixels, Tolerance(maximum, mean))


def test_convert_ir_computes_the_network(any_exported, pixels: Pixels, tmp_path: Path) -> None:
    irs = convert_ir(any_exported.onnx_path, tmp_path / "ir", targets=FLOATS)
    names = {path.name for path in (tmp_path / "ir").iterdir()}
    assert names == {f"modnet-{target}.{ending}" for target in FLOATS for ending in ("xml", "bin")}
    for target, ir in irs.items():
        agree(TorchGraph(any_exported.network), ir.xml, pixels, VARIANTS[target].precision)
    for half in ("cpu-fp16", "ncs2-fp16"):
        assert irs[half].bin.stat().st_size < 0.6 * irs["cpu-fp32"].bin.stat().st_size


@pytest.mark.parametrize("target", FLOATS)
def test_convert_ir_reads_images_itself_when_asked_to(exported, pixels: Pixels, tmp_path: Path, target: Target) -> None:
    ir = convert_ir(exported.onnx_path, tmp_path / "ir", targets=[target], input_format="uint8-nhwc")[target]
    port = ov.Core().read_model(ir.xml).input()
    assert (port.element_type, tuple(port.shape)) == (ov.Type.u8, (1, 64, 64, 3))
    seen = [pixels_of(image_of(one)) for one in pixels]
    assert OpenvinoGraph(ir.xml).input_shape == (1, 3, 64, 64)
    agree(TorchGraph(exported.network), ir.xml, seen, VARIANTS[target].precision)


@pytest.mark.parametrize("input_format", get_args(InputFormat))
def test_convert_ir_reads_every_size_when_target_is_dynamic(
    exported_dynamic, tmp_path: Path, input_format: InputFormat
) -> None:
    target: Target = "cpu-fp32-dynamic"
    ir = convert_ir(exported_dynamic.onnx_path, tmp_path, targets=[target], input_format=input_format)[target]
    assert OpenvinoGraph(ir.xml).input_shape == (None, 3, None, None)
    generator = np.random.default_rng(1)
    for shape in ((1, 64, 64, 3), (2, 96, 32, 3)):
        seen = [pixels_of(generator.integers(0, 256, shape, dtype=np.uint8))]
        agree(TorchGraph(exported_dynamic.network), ir.xml, seen, "fp32")


def test_convert_ir_fixes_the_size_of_an_open_onnx_file(exported_dynamic, pixels: Pixels, tmp_path: Path) -> None:
    assert fixed_shape(read_onnx(exported_dynamic.onnx_path)) is None
    irs = convert_ir(exported_dynamic.onnx_path, tmp_path, targets=FLOATS, size=64)
    for target, ir in irs.items():
        assert OpenvinoGraph(ir.xml).input_shape == (1, 3, 64, 64)
        agree(TorchGraph(exported_dynamic.network), ir.xml, pixels, VARIANTS[target].precision)


def test_convert_ir_raises_when_target_reads_every_size_and_onnx_does_not(exported, tmp_path: Path) -> None:
    assert fixed_shape(read_onnx(exported.onnx_path)) == (64, 64)
    with pytest.raises(ExportError, match=r"cpu-fp32-dynamic reads every size, but .* is of \[1,3,64,64\] only"):
        convert_ir(exported.onnx_path, tmp_path / "ir", targets=["cpu-fp32-dynamic"])
    assert list(tmp_path.iterdir()) == []


def test_convert_ir_writes_equal_files_when_repeated(exported, tmp_path: Path) -> None:
    first, second = (convert_ir(exported.onnx_path, tmp_path / name, targets=FLOATS) for name in "ab")
    for target in FLOATS:
        assert filecmp.cmp(first[target].xml, second[target].xml, shallow=False), target
        assert filecmp.cmp(first[target].bin, second[target].bin, shallow=False), target


def test_convert_ir_keeps_layer_names_of_the_onnx_graph(exported, tmp_path: Path) -> None:
    ir = convert_ir(exported.onnx_path, tmp_path / "ir", targets=["cpu-fp32"])["cpu-fp32"]
    names = {operation.get_friendly_name() for operation in ov.Core().read_model(ir.xml).get_ops()}
    assert "input" in names
    assert any(name.startswith("/backbone/stem/conv") for name in names)


def test_convert_ir_replaces_both_files_when_folder_holds_another_network(
    exported, exported_dynamic, pixels: Pixels, tmp_path: Path
) -> None:
    for onnx_path in (exported_dynamic.onnx_path, exported.onnx_path):
        ir = convert_ir(onnx_path, tmp_path / "ir", targets=["cpu-fp32"])["cpu-fp32"]
    np.testing.assert_allclose(OpenvinoGraph(ir.xml)(pixels[0]), TorchGraph(exported.network)(pixels[0]), atol=1e-4)


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
        convert_ir(exported.onnx_path, tmp_path / "ir", targets=["cpu-fp32", "cpu-int8"], calibration=calibration)
    assert list(tmp_path.iterdir()) == []


def test_convert_ir_refuses_a_file_of_any_number_of_channels(exported_dynamic, tmp_path: Path) -> None:
    model = onnx.load(exported_dynamic.onnx_path)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "channels"
    onnx.save(model, tmp_path / "open.onnx")
    with pytest.raises(ExportError, match=r"open\.onnx: it reads images of any number of channels"):
        convert_ir(tmp_path / "open.onnx", tmp_path / "ir", targets=["cpu-fp32"], size=64)


@pytest.mark.parametrize("targets", [[], ["cpu-fp32", "bf16"]], ids=["none", "unknown"])
def test_convert_ir_raises_when_targets_are_unfit(exported, tmp_path: Path, targets: list[Target]) -> None:
    with pytest.raises(ExportError, match="allowed: one or more of cpu-fp32, cpu-fp16, cpu-int8"):
        convert_ir(exported.onnx_path, tmp_path / "ir", targets=targets)


@pytest.mark.parametrize("kept", [None, 0, 5000], ids=["missing", "empty", "cut-off"])
def test_convert_ir_raises_and_leaves_nothing_when_onnx_is_damaged(exported, tmp_path: Path, kept: int | None) -> None:
    damaged = tmp_path / "damaged.onnx"
    if kept is not None:
        damaged.write_bytes(exported.onnx_path.read_bytes()[:kept])
    with pytest.raises(ExportError, match=r"damaged\.onnx"):
        convert_ir(damaged, tmp_path / "ir", targets=["cpu-fp32"])
    assert set(tmp_path.iterdir()) <= {damaged}


@pytest.mark.parametrize("folder", ["file", "file/ir"], ids=["as-folder", "above-folder"])
def test_convert_ir_raises_when_a_file_is_in_the_way(exported, tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ExportError, match="cannot write the IR"):
        convert_ir(exported.onnx_path, tmp_path / folder, targets=["cpu-fp32"])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_convert_ir_keeps_the_earlier_ir_when_saving_is_interrupted(
    exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ir = convert_ir(exported.onnx_path, tmp_path / "ir", targets=["cpu-fp32"])["cpu-fp32"]
    before = {path: path.read_bytes() for path in (ir.xml, ir.bin)}

    def interrupted(model: ov.Model, path: Path, **_: object) -> None:
        path.with_suffix(".bin").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(ov, "save_model", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert_ir(exported.onnx_path, tmp_path / "ir", targets=["cpu-fp32"])
    assert {path: path.read_bytes() for path in (tmp_path / "ir").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["ir"]
