"""Every verb that reads an ONNX file or an IR refuses, in our words and with exit code 3, one that it cannot use."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import openvino as ov
import pytest
from openvino import opset8

from modnet.data.images import write_png
from modnet.export.onnx_to_openvino import convert_ir
from modnet.export.runtime import core
from modnet.export.torch_to_onnx import export_onnx
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from tasks.cli import main

Refuse = Callable[..., tuple[int, str]]
Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an ONNX file and an IR of a tiny network, a photograph and portraits; left as it is."""
    folder = tmp_path_factory.mktemp("good")
    convert_ir(export_onnx(MODNet(ModnetSpec.tiny()), folder / "model.onnx", size=256), folder, targets=["cpu-fp32"])
    export_onnx(MODNet(ModnetSpec.tiny()), folder / "open.onnx", size=256, dynamic=True)
    write_png(folder / "photo.png", np.full((40, 30, 3), 90, np.uint8))
    write_synthetic_archive(folder / "portraits.zip", train=7, val=2, size=(96, 64), seed=0)
    return folder


@pytest.fixture
def folder(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that the test may damage."""
    monkeypatch.setenv("MODNET_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(good, tmp_path / "given"))


def _cut(share: float) -> Damage:
    def cut(path: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])

    return cut


def _replaced_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _onnx_of(node: str, given: list[object], found: list[object], kind: int = onnx.TensorProto.FLOAT) -> Damage:
    """Another network of one node."""

    def write(path: Path) -> None:
        ports = [onnx.helper.make_tensor_value_info(name, kind, shape) for name, shape in (("a", given), ("b", found))]
        graph = onnx.helper.make_graph([onnx.helper.make_node(node, ["a"], ["b"])], "other", ports[:1], ports[1:])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 11)], ir_version=8)
        onnx.save(model, path)

    return write


def _onnx_with_nan(path: Path) -> None:
    model = onnx.load(path)
    weight = next(one for one in model.graph.initializer if one.data_type == onnx.TensorProto.FLOAT)
    values = onnx.numpy_helper.to_array(weight).copy()
    values.flat[0] = np.nan
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, path)


def _ir_of_relu(path: Path) -> None:
    given = opset8.parameter([1, 3, 64, 64], ov.Type.f32)
    model = ov.Model([opset8.add(opset8.relu(given), opset8.constant(np.float32(1)))], [given], "other")
    ov.save_model(model, path, compress_to_fp16=False)


def _ir_with_nan(path: Path) -> None:
    places = re.findall(r'element_type="f32" shape="[\d, ]+" offset="(\d+)" size="(\d+)"', path.read_text())
    offset, _ = max(places, key=lambda place: int(place[1]))
    with path.with_suffix(".bin").open("r+b") as weights:
        weights.seek(int(offset))
        weights.write(np.float32(np.nan).tobytes())


def _beside(damage: Damage, suffix: str) -> Damage:
    return lambda path: damage(path.with_suffix(suffix))


WRONG_ONNX: dict[str, tuple[Damage, str]] = {
    "missing": (Path.unlink, "there is no file"),
    "a folder": (_replaced_by_folder, "is a folder, wanted a file"),
    "empty": (_cut(0), "is empty"),
    "cut off": (_cut(0.5), "OpenVINO cannot read it"),
    "text": (lambda path: path.write_text("hello") and None, "OpenVINO cannot read it"),
    "a lone Relu": (_onnx_of("Relu", [1, 3, 64, 64], [1, 3, 64, 64]), "wanted (B, 3, H, W) → (B, 1, H, W)"),
    "of another rank": (_onnx_of("Relu", [2, 2], [2, 2]), "wanted one input (B, C, H, W)"),
    "of bytes": (_onnx_of("Identity", [1, 3, 64, 64], [1, 3, 64, 64], onnx.TensorProto.INT8), "no network of images"),
    "with NaN": (_onnx_with_nan, "has values that are no number"),
}
WRONG_IRS: dict[str, tuple[Damage, str]] = {
    "missing": (Path.unlink, "there is no file"),
    "a folder": (_replaced_by_folder, "is a folder, wanted a file"),
    "empty": (_cut(0), "is empty"),
    "cut off": (_cut(0.5), "cannot load"),
    "text": (lambda path: path.write_text("hello") and None, "wanted 0: it is cut or of another network"),
    "a lone Relu": (_ir_of_relu, "wanted (B, 3, H, W) → (B, 1, H, W)"),
    "with NaN": (_ir_with_nan, "has values that are no number"),
    "without its .bin": (_beside(Path.unlink, ".bin"), "model-cpu-fp32.bin"),
    "with a folder for its .bin": (_beside(_replaced_by_folder, ".bin"), "is a folder, wanted a file"),
    "with a cut .bin": (_beside(_cut(0.5), ".bin"), "it is cut or of another network"),
    "with an empty .bin": (_beside(_cut(0), ".bin"), "it is cut or of another network"),
}


def _verbs(folder: Path, **network: Path) -> dict[str, list[object]]:
    """Every verb that reads such a file, with all else as it should be."""
    ((kind, path),) = network.items()
    of_kind: dict[str, list[object]] = {
        "infer": ["infer", f"--{kind}", path, "--input", folder / "photo.png", "--out", folder / "out"],
        "evaluate": ["evaluate", f"--{kind}", path, "--dataset", folder / "portraits.zip"],
    }
    if kind == "ir":
        of_kind["benchmark"] = ["benchmark", "--ir", path, "--repeats", 1, "--warm-up", 0]
    else:
        of_kind["optimize"] = ["optimize", "--onnx", path, "--targets", "cpu-fp32", "--out", folder / "out"]
    return of_kind


@pytest.mark.parametrize("verb", ["infer", "evaluate", "optimize"])
@pytest.mark.parametrize("wrong", WRONG_ONNX)
def test_a_wrong_onnx_file_is_refused(wrong: str, verb: str, folder: Path, refuse: Refuse) -> None:
    damage, words = WRONG_ONNX[wrong]
    damage(folder / "model.onnx")
    if (wrong, verb) == ("a lone Relu", "optimize"):  # which takes any network of images
        assert main([*map(str, _verbs(folder, onnx=folder / "model.onnx")[verb])]) == 0
        return
    code, said = refuse(*_verbs(folder, onnx=folder / "model.onnx")[verb])
    assert (code, words in said, "model.onnx" in said) == (3, True, True), said
    assert "Exception" not in said
    assert not (folder / "out").exists()


@pytest.mark.parametrize("verb", ["infer", "evaluate", "benchmark"])
@pytest.mark.parametrize("wrong", WRONG_IRS)
def test_a_wrong_ir_is_refused(wrong: str, verb: str, folder: Path, refuse: Refuse) -> None:
    damage, words = WRONG_IRS[wrong]
    damage(folder / "model-cpu-fp32.xml")
    if (wrong, verb) == ("a lone Relu", "benchmark"):  # likewise
        assert main([*map(str, _verbs(folder, ir=folder / "model-cpu-fp32.xml")[verb])]) == 0
        return
    code, said = refuse(*_verbs(folder, ir=folder / "model-cpu-fp32.xml")[verb])
    assert (code, words in said, "model-cpu-fp32" in said) == (3, True, True), said
    assert "Exception" not in said
    assert not (folder / "out").exists()


def test_a_network_is_measured_at_whatever_size_its_file_fixes(tmp_path: Path) -> None:
    given = opset8.parameter([1, 3, 300, 300], ov.Type.f32)
    ov.save_model(ov.Model([opset8.relu(given)], [given], "odd"), tmp_path / "odd.xml")
    assert main(["benchmark", "--ir", str(tmp_path / "odd.xml"), "--repeats", "1", "--warm-up", "0"]) == 0


def test_a_network_with_one_side_open_makes_no_mattes(folder: Path, refuse: Refuse) -> None:
    given = opset8.parameter([1, 3, 64, -1], ov.Type.f32)
    mean = opset8.reduce_mean(given, opset8.constant([1]), keep_dims=True)
    ov.save_model(ov.Model([mean], [given], "odd"), folder / "model-cpu-fp32.xml")
    code, said = refuse(*_verbs(folder, ir=folder / "model-cpu-fp32.xml")["infer"])
    assert (code, "has one side open, wanted both open or both fixed" in said) == (3, True), said


def test_an_ir_given_as_onnx_and_an_onnx_file_given_as_ir_are_refused(folder: Path, refuse: Refuse) -> None:
    for verb in _verbs(folder, onnx=folder / "model-cpu-fp32.xml").values():
        code, said = refuse(*verb)
        assert (code, "an .xml belongs to an IR, wanted an ONNX file" in said) == (3, True), said
    for verb in _verbs(folder, ir=folder / "model.onnx").values():
        code, said = refuse(*verb)
        assert (code, "an IR is named by its .xml" in said) == (3, True), said


@pytest.mark.parametrize(
    ("onnx_file", "size", "words"),
    [
        ("open.onnx", 500, "must be a positive multiple of 32, got 500"),
        ("model.onnx", 512, "--size 512x512: "),
    ],
    ids=["no multiple of 32", "fixed by the file"],
)
def test_optimize_refuses_a_size_that_the_network_does_not_read(
    onnx_file: str, size: int, words: str, folder: Path, refuse: Refuse
) -> None:
    given = ("--onnx", folder / onnx_file, "--targets", "cpu-fp32", "--size", size, "--out", folder / "out")
    code, said = refuse("optimize", *given)
    assert (code, words in said) == (3, True), said
    assert not (folder / "out").exists()
    code, said = refuse("benchmark", "--ir", folder / "model-cpu-fp32.xml", "--size", size)
    assert code == 3, said


@pytest.mark.parametrize("verb", ["infer", "evaluate", "benchmark"])
def test_a_device_that_is_not_there_is_named_and_a_stick_gets_its_own_words(
    verb: str, folder: Path, refuse: Refuse
) -> None:
    arguments = _verbs(folder, ir=folder / "model-cpu-fp32.xml")[verb]
    code, said = refuse(*arguments, "--device", "npu")
    found = ", ".join(core().available_devices)
    assert (code, f"no device NPU: OpenVINO 2026.4.1 finds only {found} here\n" in said) == (3, True), said
    code, said = refuse(*arguments, "--device", "myriad")
    assert (code, "A Neural Compute Stick 2 wants OpenVINO 2021.4.2 or 2022.3.2" in said) == (3, True), said
    assert "`make legacy-runtimes` installs them" in said
