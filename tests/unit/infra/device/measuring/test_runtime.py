from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import openvino
import pytest

from infra.device.errors import ContractError, DeviceMissingError, SettingsError
from infra.device.measuring import runtime
from infra.device.measuring.interface import Asked
from infra.device.measuring.openvino_2022 import Openvino2022
from infra.device.measuring.runtime import LoadedModel, device_of, load_ir, runtime_text


class _FakeRuntime:
    """A 2021.4.2 whose stick comes and goes."""

    version = "2021.4.2-3976"

    def __init__(self, devices: list[str]) -> None:
        self.names = devices
        self.words = "Can not init Myriad device: NC_ERROR"

    def devices(self) -> list[str]:
        return self.names

    def has_plugin(self, device: str) -> bool:
        return True

    def compile(self, ir_xml: Path, asked: Asked) -> NoReturn:
        raise RuntimeError(self.words)


class _LostNetwork:
    """On a stick that has reset itself."""

    input_data = np.zeros((1, 3, 8, 8), np.float32)
    precision, threads = "f16", None

    def run_once(self) -> NoReturn:
        raise RuntimeError("Failed to queue inference: NC_ERROR")

    def output(self) -> NoReturn:
        raise AssertionError


def test_load_ir_computes_the_network_on_a_seeded_image(ir_xml: Path) -> None:
    outputs = []
    for seed in (1, 1, 2):
        model = load_ir(ir_xml, seed=seed, precision="f32")
        model.run_once()
        outputs.append(model.output())
    wanted = 2.0 * np.random.default_rng(1).uniform(-1.0, 1.0, (1, 3, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(outputs[0], wanted, atol=1e-6)
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert not np.array_equal(outputs[0], outputs[2])


@pytest.mark.parametrize("precision", ["f32", None])
def test_load_ir_reads_back_precision_and_threads(ir_xml: Path, precision: str | None) -> None:
    model = load_ir(ir_xml, threads=1, precision=precision)
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


def test_load_ir_says_when_a_device_is_not_there_or_cannot_be_opened(
    ir_xml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = _FakeRuntime(devices=["CPU"])
    monkeypatch.setattr(runtime, "_runtime", lambda: fake)
    with pytest.raises(DeviceMissingError, match=r"MYRIAD: openvino 2021\.4\.2 finds only \['CPU'\].*udev rule"):
        load_ir(ir_xml, device="MYRIAD")
    fake.names = ["CPU", "MYRIAD"]
    with pytest.raises(DeviceMissingError, match=r"does not reach it: Can not init Myriad device.*udev rule"):
        load_ir(ir_xml, device="MYRIAD")
    fake.words = "Failed to compile layer: NC_OUT_OF_MEMORY"
    with pytest.raises(ContractError, match=r"refuses cpu-fp32\.xml on MYRIAD: Failed to compile"):
        load_ir(ir_xml, device="MYRIAD")


def test_run_once_says_when_the_stick_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_runtime", lambda: _FakeRuntime(devices=["CPU"]))
    model = LoadedModel(_LostNetwork(), load_ms=1.0)
    with pytest.raises(DeviceMissingError, match="does not reach it: Failed to queue inference: NC_ERROR; plug the"):
        model.run_once()


@pytest.mark.parametrize("given", [{"threads": 1}, {"precision": "f32"}])
def test_load_ir_refuses_what_only_the_cpu_can_be_told(ir_xml: Path, given: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="device GPU: got threads or a precision"):
        load_ir(ir_xml, device="GPU", **given)


def test_the_runtime_says_what_to_install_when_there_is_no_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(SettingsError, match=r"openvino cannot be imported here.*openvino==2021\.4\.2"):
        runtime._runtime.__wrapped__()  # not the one that this process has already


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


def test_load_ir_gives_an_ir_another_height_and_width(ir_xml: Path) -> None:
    batch, channels, height, width = load_ir(ir_xml).input_shape
    turned = load_ir(ir_xml, shape=(width * 2, height))
    assert turned.input_shape == (batch, channels, width * 2, height)
    turned.run_once()


class _OfAnotherMaker:
    """A core whose plugin knows no precision, and refuses properties that it does not know."""

    def __init__(self) -> None:
        self._core = openvino.Core()
        self.read_model = self._core.read_model

    def get_property(self, *_: str) -> list[str]:
        return ["PERFORMANCE_HINT", "SUPPORTED_PROPERTIES"]

    def compile_model(self, network: openvino.Model, device: str, properties: dict[str, str]) -> Any:
        for name in properties:
            if name not in self.get_property(device):
                raise RuntimeError(f"[ NOT_FOUND ] Unsupported property {name} by {device} plugin")
        return self._core.compile_model(network, device, {})


def test_a_plugin_that_knows_no_precision_is_not_asked_for_one(ir_xml: Path) -> None:
    here = Openvino2022()
    here._core = _OfAnotherMaker()
    compiled = here.compile(ir_xml, Asked("CPU", None, "f32", None, 512))
    compiled.run_once()
    assert compiled.output().shape == (1, 3, 8, 8)
    with pytest.raises(RuntimeError, match="Unsupported property INFERENCE_NUM_THREADS"):
        here.compile(ir_xml, Asked("CPU", 1, "f32", None, 512))


def test_compute_gives_the_output_of_an_image_and_leaves_the_input(ir_xml: Path) -> None:
    model = load_ir(ir_xml, precision="f32", batch=2)
    model.run_once()
    before = model.output()
    image = np.full((3, 8, 8), 0.25, np.float32)
    np.testing.assert_allclose(model.compute(image), np.full((2, 3, 8, 8), 0.5), atol=1e-6)
    model.run_once()
    np.testing.assert_array_equal(model.output(), before)
    assert model.input_type == "float32"
