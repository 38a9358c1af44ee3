"""The folder of an export is complete and true, or it is not there."""

import copy
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from modnet.errors import ExportError, LoweringError, ParityError
from modnet.export import export
from modnet.export.export import ExportReport, export_network
from modnet.export.openvino_graph import OpenvinoGraph
from modnet.export.torch_to_onnx import export_onnx
from modnet.targets import VARIANTS
from modnet.workloads.matting.network.modnet import MODNet
from tests.unit.modnet.random_network import make_difference_of_equal_channels

Pixels = list[NDArray[np.float32]]


def test_export_network_writes_and_reports_every_form(network: MODNet, pixels: Pixels, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "export"
    report = export_network(network, folder, size=64, targets=["cpu-fp32", "cpu-fp16"], parity_images=pixels)
    assert report.shape == (64, 64)
    assert set(report.parity) == {"onnx", "cpu-fp32", "cpu-fp16"}
    assert report.parity["cpu-fp32"].mean_difference < report.parity["cpu-fp16"].mean_difference
    assert set(report.files) == {"modnet.onnx"} | {
        f"modnet-{p}.{s}" for p in ("cpu-fp32", "cpu-fp16") for s in ("xml", "bin")
    }
    assert {path.name for path in folder.iterdir()} == set(report.files)
    for name, file in report.files.items():
        content = (folder / name).read_bytes()
        assert (file.sha256, file.size_bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    assert ExportReport.model_validate_json(report.model_dump_json()) == report
    assert [path.name for path in folder.parent.iterdir()] == ["export"]


def test_export_network_writes_forms_of_any_height_and_width(network: MODNet, tmp_path: Path) -> None:
    pixels = [np.random.default_rng(0).uniform(-1, 1, (1, 3, 96, 64)).astype(np.float32)]
    targets = ["cpu-fp32", "cpu-int8", "ncs2-fp16"]
    given = {"targets": targets, "calibration": pixels, "parity_images": pixels}
    report = export_network(network, tmp_path / "export", size=(96, 64), **given)
    assert (report.shape, set(report.parity) - {"onnx"}) == ((96, 64), set(targets))
    for target in targets:
        assert OpenvinoGraph(tmp_path / "export" / f"modnet-{target}.xml").shape == (96, 64)


def test_export_network_leaves_nothing_when_interrupted(network: MODNet, pixels: Pixels, tmp_path: Path) -> None:
    def interrupted() -> Iterator[NDArray[np.float32]]:
        yield pixels[0]
        assert list(tmp_path.rglob("modnet.onnx"))  # it is in the middle of it
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_network(
            network,
            tmp_path / "export",
            size=64,
            targets=["cpu-int8"],
            calibration=interrupted(),
            parity_images=pixels,
        )
    assert list(tmp_path.iterdir()) == []


def test_export_network_leaves_nothing_when_a_weight_is_not_finite(
    network: MODNet, pixels: Pixels, tmp_path: Path
) -> None:
    with torch.no_grad():
        network.fusion.head.bias.fill_(float("nan"))
    with pytest.raises(ExportError, match=r"fusion\.head\.bias"):
        export_network(network, tmp_path / "export", size=64, targets=["cpu-fp32"], parity_images=pixels)
    assert list(tmp_path.iterdir()) == []


def test_export_network_leaves_nothing_when_alpha_is_no_number(network: MODNet, pixels: Pixels, tmp_path: Path) -> None:
    with torch.no_grad():
        network.fusion.head_features.conv.weight.fill_(3e38)  # finite, but no sum of them is
    with pytest.raises(ParityError, match=r"modnet\.onnx differs from the network by nan at image 0"):
        export_network(network, tmp_path / "export", size=64, targets=["cpu-fp32"], parity_images=pixels)
    assert list(tmp_path.iterdir()) == []


def test_export_network_leaves_a_target_out_when_its_rounding_moves_the_matte(
    network: MODNet, pixels: Pixels, tmp_path: Path
) -> None:
    make_difference_of_equal_channels(network, 2048.0)  # 2049 becomes 2048 in float16
    report = export_network(
        network, tmp_path / "export", size=64, targets=["cpu-fp32", "cpu-fp16"], parity_images=pixels
    )
    assert set(report.parity) == {"onnx", "cpu-fp32"}
    assert "modnet-cpu-fp16.xml differs from the network" in report.refused["cpu-fp16"]
    assert set(report.files) == {"modnet.onnx", "modnet-cpu-fp32.xml", "modnet-cpu-fp32.bin"}
    assert {path.name for path in (tmp_path / "export").iterdir()} == set(report.files)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_export_network_raises_and_keeps_content_when_folder_is_in_use(
    network: MODNet, pixels: Pixels, tmp_path: Path, kind: str
) -> None:
    kept = tmp_path / "export" if kind == "file" else tmp_path / "export" / "mine.txt"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("mine")
    with pytest.raises(ExportError, match="cannot export to"):
        export_network(network, tmp_path / "export", size=64, targets=["cpu-fp32"], parity_images=pixels)
    assert kept.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_export_network_raises_when_parity_images_are_unfit(network: MODNet, pixels: Pixels, tmp_path: Path) -> None:
    for images, message in (([], "parity needs at least 1 image"), ([pixels[0][..., :32]], "parity image 0: wanted")):
        with pytest.raises(ExportError, match=message):
            export_network(network, tmp_path / "export", size=64, targets=["cpu-fp32"], parity_images=images)
    assert list(tmp_path.iterdir()) == []


def test_export_network_goes_on_with_the_others_when_a_target_needs_what_its_runtimes_do_not_read(
    network: MODNet, pixels: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = replace(VARIANTS["ncs2-fp16"], opset_ceiling=3)
    monkeypatch.setitem(VARIANTS, "ncs2-fp16", older)
    report = export_network(
        network, tmp_path / "export", size=64, targets=["ncs2-fp16", "cpu-fp32"], parity_images=pixels
    )
    assert "Interpolate of opset4" in report.refused["ncs2-fp16"]
    assert set(report.files) == {"modnet.onnx", "modnet-cpu-fp32.xml", "modnet-cpu-fp32.bin"}
    with pytest.raises(LoweringError, match="opsets 1 to 3 only"):
        export_network(network, tmp_path / "none", size=64, targets=["ncs2-fp16"], parity_images=pixels)
    assert not (tmp_path / "none").exists()


def test_export_network_names_the_first_layer_that_differs_when_a_conversion_is_wrong(
    network: MODNet, pixels: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(network: MODNet, path: Path, **settings: Any) -> Path:
        other = copy.deepcopy(network)
        with torch.no_grad():
            other.semantic.lr8x.conv.weight.mul_(-1)
        return export_onnx(other, path, **settings)

    monkeypatch.setattr(export, "export_onnx", wrong)
    with pytest.raises(ParityError, match=r"the first layer that differs is semantic\.lr8x\.conv") as caught:
        export_network(network, tmp_path / "export", size=64, targets=["cpu-fp32"], parity_images=pixels)
    assert caught.value.layer == "semantic.lr8x.conv"
    assert caught.value.max_difference > 1e-3


def test_export_network_raises_when_folder_cannot_be_written(network: MODNet, pixels: Pixels) -> None:
    with pytest.raises(ExportError, match="cannot export to /proc/modnet/export"):
        export_network(network, Path("/proc/modnet/export"), size=64, targets=["cpu-fp32"], parity_images=pixels)


def test_export_network_accepts_the_difference_that_it_is_told_to(
    network: MODNet, pixels: Pixels, tmp_path: Path
) -> None:
    settings = {"size": 64, "targets": ["cpu-fp32"], "parity_images": pixels}
    with pytest.raises(ParityError, match=r"accepted 1e-12\).*no layer differs by itself"):
        export_network(network, tmp_path / "strict", max_difference=1e-12, **settings)
    assert export_network(network, tmp_path / "mild", max_difference=1e-3, **settings).parity["cpu-fp32"]
