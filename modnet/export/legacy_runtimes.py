"""Whether the old runtimes of a target read its IR, compute what it should, and compile it for its device."""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modnet.errors import ExportError, ParityError
from modnet.export import legacy_runner
from modnet.export.openvino_graph import reads_images
from modnet.export.parity import TOLERANCES, check_parity
from modnet.graph_function import GraphFunction, Pixels, image_of, pixels_of
from modnet.records import LegacyCheck
from modnet.targets import Variant

TIMEOUT_S = 300.0  # of one start of an old runtime; the unpruned network takes about 20 s on two busy cores


class LegacyRuntime(NamedTuple):
    """Python 3.9 with one version of OpenVINO, as `make legacy-runtimes` installs it into a folder."""

    folder: Path
    version: str

    @property
    def is_installed(self) -> bool:
        """Whether it can be started."""
        return (self.folder / "python3.9").is_file() and (self.folder / f"openvino-{self.version}").is_dir()

    def run(self, xml: Path, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Alpha (N, 1, H, W) of an IR for inputs (N, …) of the type and order that it reads, computed in float32.

        Raises:
            ExportError: the runtime cannot read or run it; with its words.
        """
        with TemporaryDirectory() as temporary:
            given, found = Path(temporary) / "inputs.npy", Path(temporary) / "outputs.npy"
            np.save(given, inputs)
            self._answer("run", xml, given, found)
            output: NDArray[np.float32] = np.load(found)
        return output

    def compile_for_stick(self, xml: Path) -> dict[str, Any]:
        """What the Neural Compute Stick 2's compiler says, see `legacy_runner.compile_for_stick`.

        Raises:
            ExportError: the runtime cannot read the IR, or does not end.
        """
        return self._answer("compile", xml)

    def ask(self, purpose: str, arguments: Sequence[str], *modules: Path) -> dict[str, Any]:
        """The JSON object that a Python program within this runtime prints last.

        `purpose` is what it is to do, as a verb and its object for messages; it imports from the folders `modules` as
        well.

        Raises:
            ExportError: it does not start, fails, or does not end within `TIMEOUT_S`; with its last words.
        """
        command = [str((self.folder / "python3.9").absolute()), *arguments]
        folders = [str(one.absolute()) for one in (self.folder / f"openvino-{self.version}", *modules)]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
        told = f"OpenVINO {self.version} cannot {purpose}"
        try:
            done = subprocess.run(
                command, env=environ, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise ExportError(f"{told}: no answer within {TIMEOUT_S:.0f} s") from error
        except OSError as error:
            raise ExportError(f"{told}: {command[0]} does not start: {error.strerror}") from error
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise ExportError(f"{told}: {lines[-1][:500]}")
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    def _answer(self, verb: str, *paths: Path) -> dict[str, Any]:
        arguments = [legacy_runner.__file__, verb, *(str(one.absolute()) for one in paths)]
        return self.ask(f"{verb} {paths[0].name}", arguments)


def verify_on_legacy(
    xml: Path, variant: Variant, reference: GraphFunction, images: Sequence[Pixels], folder: Path
) -> tuple[LegacyCheck, ...]:
    """One check for each old runtime of an IR's target, of those in `folder`, and one for the compiler of their device.

    Images are network inputs, float32 (1, C, H, W) in [-1, 1]; an IR that reads images gets `image_of` them, and the
    reference what is left of them in it. What is not installed is "not verified", never "ok".
    """
    inputs: NDArray[Any] = np.concatenate(images)
    if reads_images(xml):
        inputs = image_of(inputs)
        images = [pixels_of(one[None]) for one in inputs]

    def run_check(runtime: LegacyRuntime) -> LegacyCheck:
        name = f"OpenVINO {runtime.version}"
        if not runtime.is_installed:
            return _unverified(name, f"not installed in {folder}: see make legacy-runtimes")
        try:
            outputs = iter(runtime.run(xml, inputs))
            names, tolerance = ("the network", f"{xml.name} on {name}"), TOLERANCES[variant.precision]
            found = check_parity(reference, lambda _: next(outputs)[None], images, tolerance, names)
        except ParityError as error:
            mean = error.mean_difference if np.isfinite(error.mean_difference) else None
            return LegacyCheck(by=name, status="failed", words=str(error), mean_difference=mean)
        except ExportError as error:
            return LegacyCheck(by=name, status="failed", words=str(error))
        mean, largest = found.mean_difference, found.max_difference
        return LegacyCheck(by=name, status="ok", mean_difference=mean, max_difference=largest)

    checks = [run_check(LegacyRuntime(folder, version)) for version in variant.legacy_runtimes]
    if variant.device == "MYRIAD":
        checks.append(_compile_check(LegacyRuntime(folder, variant.legacy_runtimes[0]), xml))
    return tuple(checks)


def _compile_check(runtime: LegacyRuntime, xml: Path) -> LegacyCheck:
    name = f"compiler of MYRIAD, OpenVINO {runtime.version}"
    if not runtime.is_installed:
        return _unverified(name, f"not installed in {runtime.folder}: see make legacy-runtimes")
    try:
        said = runtime.compile_for_stick(xml)
    except ExportError as error:
        return LegacyCheck(by=name, status="failed", words=str(error))
    if not said["compiler"]:
        return _unverified(name, said["words"])
    if not said["accepted"]:
        return LegacyCheck(by=name, status="failed", words=said["words"])
    return LegacyCheck(by=name, status="ok", blob_bytes=said["blob_bytes"], stages=said["stages"])


def _unverified(name: str, why: str) -> LegacyCheck:
    return LegacyCheck(by=name, status="not verified", words=why)
