"""A compiled network is kept, found again, and made again where its file is not whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset8

from modnet.export import openvino_graph
from modnet.export.openvino_graph import OpenvinoGraph
from modnet.targets import Shape

PIXELS = np.ones((1, 3, 4, 6), np.float32)


def ir(folder: Path, factor: float) -> Path:
    image = opset8.parameter([1, 3, 4, 6], np.float32)
    ov.save_model(ov.Model([opset8.multiply(image, np.float32(factor))], [image]), folder / "network.xml")
    return folder / "network.xml"


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The IRs that were compiled, one entry each time."""
    done: list[Path] = []
    real = openvino_graph._compiled

    def counted(model: ov.Model, path: Path, *how: object) -> ov.CompiledModel:
        done.append(path)
        return real(model, path, *how)  # type: ignore[arg-type]

    monkeypatch.setattr(openvino_graph, "_compiled", counted)
    return done


def test_the_second_process_need_not_compile(tmp_path: Path, compilations: list[Path]) -> None:
    xml, kept = ir(tmp_path, 2), tmp_path / "new" / "kept"
    first, second = (OpenvinoGraph(xml, kept=kept) for _ in range(2))
    assert (len(compilations), len(list(kept.iterdir()))) == (1, 1)
    np.testing.assert_array_equal(first(PIXELS), second(PIXELS))
    assert second.shape == (4, 6)


@pytest.mark.parametrize("other", ["file", "shape"])
def test_another_network_or_shape_is_compiled_anew(other: str, tmp_path: Path, compilations: list[Path]) -> None:
    kept, shape = tmp_path / "kept", None
    OpenvinoGraph(ir(tmp_path, 2), kept=kept)
    if other == "shape":
        shape: Shape | None = (6, 4)
    xml = ir(tmp_path, 2 if other == "shape" else 3)
    graph = OpenvinoGraph(xml, shape=shape, kept=kept)
    assert len(compilations) == 2
    assert graph(PIXELS.reshape(1, 3, *(shape or (4, 6)))).max() == (2 if other == "shape" else 3)


@pytest.mark.parametrize("spoil", [lambda data: data[:-1], lambda data: b"", lambda data: data[:-1] + b"?"])
def test_a_spoilt_file_is_made_again(spoil: object, tmp_path: Path, compilations: list[Path]) -> None:
    xml, kept = ir(tmp_path, 2), tmp_path / "kept"
    OpenvinoGraph(xml, kept=kept)
    (file,) = kept.iterdir()
    whole = file.read_bytes()
    file.write_bytes(spoil(whole))  # type: ignore[operator]
    assert OpenvinoGraph(xml, kept=kept)(PIXELS).max() == 2
    assert len(compilations) == 2
    OpenvinoGraph(xml, kept=kept)
    assert len(compilations) == 2


def test_a_folder_that_cannot_be_made_keeps_nothing_and_harms_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert OpenvinoGraph(ir(tmp_path, 2), kept=tmp_path / "file" / "kept")(PIXELS).max() == 2
