from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino
import pytest

from infra.edge_agent.runtime import device_of, load_ir, runtime_text
from infra.errors import ContractError, SettingsError


def test_load_ir_computes_the_network_on_a_seeded_image(ir_xml: Path) -> None:
    outputs = []
    for seed in (1, 1, 2):
        model = load_ir(ir_xml, seed=seed, hints={"INFERENCE_PRECISION_HINT": "f32"})
        model.run_once()
        outputs.append(model.output())
    wanted = 2.0 * np.random.default_rng(1).uniform(-1.0, 1.0, (1, 3, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(outputs[0], wanted, atol=1e-6)
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert not np.array_equal(outputs[0], outputs[2])


@pytest.mark.parametrize("precision", ["f32", None])
def test_load_ir_reads_back_precision_and_threads(ir_xml: Path, precision: str | None) -> None:
    model = load_ir(ir_xml, threads=1, hints={"INFERENCE_PRECISION_HINT": precision} if precision else None)
    assert model.precision in ({precision} if precision else {"f32", "bf16", "f16"})
    assert model.threads == 1
    assert model.load_ms > 0


@pytest.mark.parametrize("batch", [1, 4])
def test_load_ir_runs_the_batch_that_was_asked_for(ir_xml: Path, batch: int) -> None:
    model = load_ir(ir_xml, batch=batch)
    model.run_once()
    assert model.input_shape == (batch, 3, 8, 8)
    assert model.output().shape == (batch, 3, 8, 8)


@pytest.mark.parametrize("spoilt", ["empty", "cut", "text", "no weights"])
def test_load_ir_says_runtime_and_file_when_the_ir_is_damaged(ir_xml: Path, spoilt: str) -> None:
    if spoilt == "no weights":
        ir_xml.with_suffix(".bin").write_bytes(b"")
    else:
        content = {"empty": b"", "cut": ir_xml.read_bytes()[:500], "text": b"<net/>"}[spoilt]
        ir_xml.write_bytes(content)
    with pytest.raises(ContractError, match=r"openvino .*cpu-fp32\.xml"):
        load_ir(ir_xml)


def test_load_ir_fixes_what_a_network_leaves_open(ir_xml: Path) -> None:
    network = openvino.Core().read_model(ir_xml)
    network.reshape([-1, 3, -1, -1])
    dynamic = ir_xml.with_name("dynamic.xml")
    openvino.save_model(network, dynamic)
    assert load_ir(dynamic, open_side=16).input_shape == (1, 3, 16, 16)
    assert load_ir(dynamic, batch=2).input_shape == (2, 3, 512, 512)


def test_load_ir_refuses_a_network_of_unknown_dimensions(ir_xml: Path) -> None:
    network = openvino.Core().read_model(ir_xml)
    network.reshape(openvino.PartialShape.dynamic())
    dynamic = ir_xml.with_name("dynamic.xml")
    openvino.save_model(network, dynamic)
    with pytest.raises(ContractError, match="known number of dimensions"):
        load_ir(dynamic)


def test_load_ir_names_the_devices_there_are_when_one_is_missing(ir_xml: Path) -> None:
    with pytest.raises(SettingsError, match=r"MYRIAD.*CPU"):
        load_ir(ir_xml, device="MYRIAD")


def test_runtime_text_says_name_and_version() -> None:
    assert runtime_text() == f"openvino {openvino.__version__.split('-')[0]}"


def test_device_of_reads_the_first_word_of_a_target() -> None:
    assert [device_of(target) for target in ("cpu-int8", "ncs2-fp16")] == ["CPU", "MYRIAD"]


def test_device_of_refuses_an_unknown_word() -> None:
    with pytest.raises(SettingsError, match="toaster"):
        device_of("toaster-fp32")
