"""A stand-in for openvino, whose networks are Python: the `.xml` runs when it is compiled, the `.bin` to infer.

With it, a real child does what a broken driver or a hostile network would.
"""

from __future__ import annotations

import os
from pathlib import Path

from infra.device.agent.settings import RuntimeSettings
from infra.device.documents.manifest import Golden, Manifest, TargetFiles
from infra.device.documents.pointer import Pointer
from infra.device.stores.object_store import ObjectStore
from infra.publishing.releases import promote, publish_release
from tests.signing import publisher_of
from tests.unit.infra.exported import digests, exported

_OPENVINO = """
import ctypes, os, signal, subprocess, sys, time
from pathlib import Path
from types import SimpleNamespace
import numpy as np

class Type:
    u8 = object()

def get_version():
    return Path(__file__).with_name("version").read_text()

class Core:
    available_devices = ["CPU"]

    def get_versions(self, device):
        return {device: 1}

    def get_property(self, *names):
        return []

    def read_model(self, path):
        rank = SimpleNamespace(is_dynamic=False)
        shape = SimpleNamespace(rank=rank, is_dynamic=False)
        return SimpleNamespace(path=path, inputs=[SimpleNamespace(partial_shape=shape, element_type=None)])

    def compile_model(self, model, device, properties):
        exec(Path(model.path).read_text(), globals())
        return Compiled(Path(model.path).with_suffix(".bin").read_text())

class Compiled:
    def __init__(self, code):
        self.code = compile(code, "inference", "exec")
        self.data = np.zeros((1, 3, 8, 8), np.float32)

    def create_infer_request(self):
        return self

    def get_input_tensor(self):
        return self

    def get_output_tensor(self, index):
        return self

    def get_property(self, name):
        return []

    def start_async(self):
        exec(self.code, globals())

    def wait(self):
        pass

def says(name):  # to the test: who it is and that it came so far
    path = Path(__file__).with_name(name + ".new")
    path.write_text(str(os.getpid()))
    path.rename(Path(__file__).with_name(name))
"""
HANGS = "says('hangs'); signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32)); ctypes.PyDLL(None).sleep(600)"
"""As native code that never comes back, and never lets another thread run."""


def scripted_runtime(folder: Path, version: str = "2030.1.0", name: str = "scripted") -> RuntimeSettings:
    """A runtime that finds the stand-in in `folder / "openvino"`, where its networks leave what they say as well."""
    (folder / "openvino").mkdir(parents=True, exist_ok=True)
    (folder / "openvino/__init__.py").write_text(_OPENVINO)
    (folder / "openvino/version").write_text(version)
    return RuntimeSettings(
        name, environ={"PYTHONPATH": os.pathsep.join((str(folder), os.environ.get("PYTHONPATH", "")))}
    )


def promote_scripted(
    store: ObjectStore,
    folder: Path,
    *,
    compiled: str = "",
    inference: str = "",
    golden: Path | None = None,
    target: str = "cpu-fp32",
) -> Pointer:
    """Publishes and promotes a network of such code."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {f"{target}.xml": folder / f"{target}.xml", f"{target}.bin": folder / f"{target}.bin"}
    files[f"{target}.xml"].write_text(compiled)
    files[f"{target}.bin"].write_text(inference)
    if golden is not None:
        files["golden.npz"] = golden
    form = TargetFiles(
        *(f"{target}.xml", f"{target}.bin", "input", (1, 3, 8, 8), "fp32"),
        golden=None if golden is None else Golden("golden.npz", 0.01),
    )
    manifest = Manifest("matting", "0123456789ab", {target: form}, digests(files), {}, {})
    return promote(publisher_of(store), target, publish_release(publisher_of(store), manifest, exported(store, files)))
