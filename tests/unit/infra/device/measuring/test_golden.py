from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.device.documents.manifest import Golden
from infra.device.errors import ContractError
from infra.device.measuring import golden
from infra.device.measuring.golden import INFINITELY_WRONG, check_golden
from infra.device.measuring.runtime import LoadedModel, load_ir

GOLDEN = Golden("golden.npz", 0.01)
INPUTS = np.random.default_rng(3).uniform(-1, 1, (2, 3, 8, 8)).astype(np.float32)


class _Network:
    """Gives what it is told, whatever it is given."""

    precision: str | None = "f32"
    threads: int | None = 1

    def __init__(self, output: float) -> None:
        self.input_data = np.zeros((1, 3, 8, 8), np.float32)
        self._output = np.full((1, 3, 8, 8), output, np.float32)

    def run_once(self) -> None:
        pass

    def output(self) -> np.ndarray[Any, Any]:
        return self._output.copy()


def _write(path: Path, inputs: np.ndarray[Any, Any] = INPUTS, outputs: np.ndarray[Any, Any] | None = None) -> Path:
    np.savez_compressed(path, inputs=inputs, outputs=2 * inputs if outputs is None else outputs)
    return path


@pytest.mark.parametrize("batch", [1, 2])
def test_check_golden_finds_the_network_that_doubles_its_input_right(ir_xml: Path, batch: int) -> None:
    model = load_ir(ir_xml, precision="f32", batch=batch)
    check = check_golden(model, _write(ir_xml.with_name("golden.npz")), GOLDEN)
    assert (check.images_count, check.tolerance) == (2, 0.01)
    assert check.worst_difference <= 1e-6


def test_check_golden_tells_the_mean_difference_of_the_worst_image(ir_xml: Path) -> None:
    outputs = 2 * INPUTS
    outputs[0, 0] += 0.75  # of one channel of three
    outputs[1, 0] -= 0.15
    path = _write(ir_xml.with_name("golden.npz"), outputs=outputs)
    check = check_golden(load_ir(ir_xml, precision="f32"), path, GOLDEN)
    assert check.worst_difference == pytest.approx(0.25, abs=1e-6)
    assert check.worst_difference > check.tolerance


def test_check_golden_leaves_the_input_that_is_timed(ir_xml: Path) -> None:
    model = load_ir(ir_xml, seed=7)
    model.run_once()
    before = model.output()
    check_golden(model, _write(ir_xml.with_name("golden.npz")), GOLDEN)
    model.run_once()
    np.testing.assert_array_equal(model.output(), before)


@pytest.mark.parametrize("output", [np.nan, np.inf, 3e38])
def test_check_golden_counts_what_is_no_number_as_infinitely_wrong(tmp_path: Path, output: float) -> None:
    model = LoadedModel(_Network(output), load_ms=1.0)
    check = check_golden(model, _write(tmp_path / "golden.npz"), GOLDEN)
    assert check.worst_difference == INFINITELY_WRONG


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [
        (INPUTS[:, :, :4], 2 * INPUTS, r"inputs: got shape \(N, …\) \(3, 4, 8\), wanted \(3, 8, 8\)"),
        (INPUTS.astype(np.uint8), 2 * INPUTS, "inputs: got type uint8, wanted float32"),
        (INPUTS, 2 * INPUTS[:, :1], r"outputs: got shape \(N, …\) \(1, 8, 8\), wanted \(3, 8, 8\)"),
        (INPUTS, 2 * INPUTS[:1], "outputs: got images 1, wanted 2"),
        (INPUTS, INPUTS.astype(np.float64), "outputs: got type float64, wanted float32"),
        (INPUTS, np.full_like(INPUTS, np.nan), "not finite numbers"),
        (INPUTS[:0], INPUTS[:0], "wanted images and outputs"),
        (np.float32(1), np.float32(1), "wanted images and outputs"),
        (np.array([None, {}]), INPUTS, "cannot be read"),  # a pickle
    ],
    ids=["size", "type", "output size", "images", "output type", "not finite", "empty", "numbers", "pickle"],
)
def test_check_golden_refuses_what_is_not_of_this_network(
    tmp_path: Path, inputs: np.ndarray[Any, Any], outputs: np.ndarray[Any, Any], words: str
) -> None:
    path = _write(tmp_path / "golden.npz", inputs, outputs)
    with pytest.raises(ContractError, match=f"golden file.*{words}"):
        check_golden(LoadedModel(_Network(0.0), load_ms=1.0), path, GOLDEN)


@pytest.mark.parametrize("spoilt", ["missing", "empty", "cut", "changed", "another array", "no npy"])
def test_check_golden_refuses_a_damaged_file(tmp_path: Path, spoilt: str) -> None:
    path = _write(tmp_path / "golden.npz")
    content = path.read_bytes()
    if spoilt == "missing":
        path.unlink()
    elif spoilt == "another array":
        np.savez(path, inputs=INPUTS)
    elif spoilt == "no npy":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("inputs.npy", b"text")
            archive.writestr("outputs.npy", b"text")
    else:
        middle = len(content) // 2
        changed = content[:middle] + bytes(100) + content[middle + 100 :]
        path.write_bytes({"empty": b"", "cut": content[:-200], "changed": changed}[spoilt])
    with pytest.raises(ContractError, match="golden file"):
        check_golden(LoadedModel(_Network(0.0), load_ms=1.0), path, GOLDEN)


def test_check_golden_refuses_a_file_that_unpacks_to_more_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden, "MAX_GOLDEN_BYTES", 1 << 20)
    path = _write(tmp_path / "golden.npz", inputs=np.zeros((2000, 3, 8, 8), np.float32))
    assert path.stat().st_size < 1 << 16
    with pytest.raises(ContractError, match=r"got 30\d{5} bytes, wanted at most 1048576"):
        check_golden(LoadedModel(_Network(0.0), load_ms=1.0), path, GOLDEN)
