"""What runs inside an old runtime: one IR on given inputs, or its compilation for a Neural Compute Stick 2 without one.

    python3.9 legacy_runner.py run model.xml inputs.npy outputs.npy
    python3.9 legacy_runner.py compile model.xml

Prints one JSON object last. Python 3.9 with numpy and OpenVINO 2021.4.2 or 2022.3.2, and none of this project's other
files: `modnet.export.legacy_runtimes` starts it.
"""

from __future__ import annotations

import json
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any

NO_STICK = "there is no available devices with platform 2480"
NO_PLUGIN = "not registered in the InferenceEngine"
BLOB_MAGIC = 9709


def run(xml: Path, inputs: Path, outputs: Path) -> dict[str, Any]:
    """Runs the IR on every row of `inputs` (N, …) in float32, and writes what it computes, (N, …), to `outputs`."""
    import numpy as np

    core = _core()
    core.set_config({"ENFORCE_BF16": "NO"}, "CPU")  # otherwise bfloat16 where the CPU has it, silently
    network = core.read_network(str(xml), str(xml.with_suffix(".bin")))
    given = np.load(inputs)
    ((name, port),) = network.input_info.items()
    (output,) = network.outputs
    port.precision = "U8" if given.dtype == np.uint8 else "FP32"
    network.outputs[output].precision = "FP32"
    loaded = core.load_network(network, "CPU")
    np.save(outputs, np.concatenate([loaded.infer({name: row[None]})[output] for row in given]))
    return {"images": len(given)}


def compile_for_stick(xml: Path) -> dict[str, Any]:
    """Compiles the IR by the stick's own compiler: `accepted`, its `words`, and the size and stages of its blob.

    Without a stick, loading ends with an error in any case; by then an accepted network has left its blob in the cache.
    """
    core = _core()
    network = core.read_network(str(xml), str(xml.with_suffix(".bin")))
    with tempfile.TemporaryDirectory() as cache:
        core.set_config({"CACHE_DIR": cache}, "")
        try:
            core.load_network(network, "MYRIAD", config={"VPU_MYRIAD_PLATFORM": "VPU_MYRIAD_2480"})
            words = "loaded on a stick"
        except Exception as error:  # all that the old interface raises is plain Exceptions and RuntimeErrors
            words = " ".join(str(error).split())
        blobs = [path.read_bytes() for path in Path(cache).glob("*.blob")]
    if NO_PLUGIN in words or "Cannot load library" in words:
        return {"compiler": False, "words": words}
    accepted = len(blobs) == 1 and (NO_STICK in words or words == "loaded on a stick")
    found = {"blob_bytes": len(blobs[0]), "stages": _stages(blobs[0])} if accepted else {}
    return {"compiler": True, "accepted": accepted, "words": words, **found}


def _stages(blob: bytes) -> int:
    """The seventh word of the header, which starts with a magic number after a line of XML and an ELF header."""
    header = blob.index(struct.pack("<I", BLOB_MAGIC))
    return int(struct.unpack_from("<7I", blob, header)[6])


def _core() -> Any:
    from openvino.inference_engine import IECore

    return IECore()


if __name__ == "__main__":
    verb, *paths = sys.argv[1:]
    answer = (run if verb == "run" else compile_for_stick)(*map(Path, paths))
    sys.stdout.write("\n" + json.dumps(answer) + "\n")  # on a line of its own: plugins print, too
