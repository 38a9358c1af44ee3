"""A classifier in its exported forms: they compute its logits, at any open size, and name its classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from modnet.errors import GraphError
from modnet.export.export import export_network
from modnet.export.graph_file import Described, described, read_graph, read_onnx
from modnet.export.openvino_graph import OpenvinoGraph
from modnet.export.torch_to_onnx import export_onnx
from modnet.graph_function import TorchGraph
from modnet.targets import VARIANTS
from modnet.workloads.classification.network import MobileNetV2, MobileNetV2Spec
from modnet.workloads.classification.synthetic import golden_images
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec

CLASSES = ("cat", "Bernhardiner, groß", "dog")


def network() -> MobileNetV2:
    """Its logits differ from image to image and reach beyond 1."""
    torch.manual_seed(0)
    made = MobileNetV2(MobileNetV2Spec.tiny(CLASSES))
    with torch.no_grad():
        made.classifier.weight.mul_(10)
        made.classifier.bias.copy_(torch.tensor([4.0, 0.0, -4.0]))
        for _ in range(50):  # the norms take the images' statistics
            made(torch.from_numpy(golden_images((64, 64))))
    return made.eval()


def test_every_target_computes_the_logits_and_names_the_classes(tmp_path: Path) -> None:
    made, images = network(), [one[None] for one in golden_images((64, 64))]
    assert np.abs(TorchGraph(made)(images[0])).max() > 1
    report = export_network(
        *(made, tmp_path / "out"), size=64, targets=tuple(VARIANTS), calibration=images, parity_images=images[:2]
    )
    assert report.refused == {}
    for path in [tmp_path / "out/modnet.onnx", *(tmp_path / "out").glob("*.xml")]:
        assert described(read_graph(path)) == Described("classification", CLASSES)


def test_a_graph_of_open_size_gives_logits_at_every_size(tmp_path: Path) -> None:
    made = network()
    path = export_onnx(made, tmp_path / "open.onnx", size=64, dynamic=True)
    (output,) = onnx.load(path).graph.output
    assert [one.dim_param or one.dim_value for one in output.type.tensor_type.shape.dim] == ["batch", 3]
    graph = OpenvinoGraph(path)
    for shape in ((64, 64), (96, 32)):
        images = golden_images(shape)
        np.testing.assert_allclose(graph(images), TorchGraph(made)(images), rtol=1e-3, atol=1e-3)


def test_a_network_whose_outputs_have_no_names_says_nothing_of_itself(tmp_path: Path) -> None:
    path = export_onnx(MODNet(ModnetSpec.tiny()), tmp_path / "matting.onnx", size=64)
    assert described(read_onnx(path)) == Described(None)
    assert not onnx.load(path).metadata_props


@pytest.mark.parametrize("text", ["[", json.dumps("cat"), "[1, 2]"])
def test_damaged_names_are_refused(tmp_path: Path, text: str) -> None:
    model = onnx.load(export_onnx(network(), tmp_path / "model.onnx", size=64))
    onnx.helper.set_model_props(model, {"outputs": text})
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(GraphError, match="names of outputs"):
        described(read_onnx(tmp_path / "model.onnx"))
