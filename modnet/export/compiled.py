"""Compiled networks that are kept on disk: compiling takes longer than everything else that one picture needs.

OpenVINO's own cache (CACHE_DIR) trusts what it finds. Here a file holds a digest of its content, so one that was cut or
spoilt is made again, and it appears whole or not at all while several processes start.
"""

import hashlib
import io
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import openvino as ov

from modnet.export.runtime import core
from modnet.files import write_atomically
from modnet.targets import Shape

logger = logging.getLogger(__name__)

Config = Mapping[str, str]  # properties of a compilation, by OpenVINO's names
Compile = Callable[[str, Config], ov.CompiledModel]  # of a device

_DIGEST_BYTES = hashlib.sha256().digest_size


def kept_or_compiled(
    folder: Path, xml: Path, shape: Shape | None, device: str, config: Config, compile_it: Compile
) -> ov.CompiledModel:
    """The compiled network from `folder`, or compiled now by `compile_it` and kept there.

    Its file is named by all that it depends on: both files of the IR, shape (None: the IR's own), config, the processor
    with its abilities, and the version of OpenVINO. Where the folder cannot be made or written, or the device cannot
    keep networks, nothing is.
    """
    abilities = core().get_property(device, "OPTIMIZATION_CAPABILITIES")
    if "EXPORT_IMPORT" not in abilities or not xml.with_suffix(".bin").is_file():
        return compile_it(device, config)
    files = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (xml, xml.with_suffix(".bin"))]
    processor = core().get_property(device, "FULL_DEVICE_NAME")
    depends_on = [*files, shape, dict(config), device, processor, list(abilities), ov.get_version()]
    kept = folder / f"{hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()[:32]}.compiled"
    if (found := _read(kept)) is not None:
        try:
            return core().import_model(io.BytesIO(found), device, dict(config))
        except RuntimeError as error:
            logger.debug("%s: OpenVINO cannot take it: %s", kept, error)
    compiled = compile_it(device, config)
    content = bytes(compiled.export_model().getvalue())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, hashlib.sha256(content).digest() + content)
    except OSError as error:
        logger.debug("%s cannot be written: %s", kept, error)
    return compiled


def _read(kept: Path) -> bytes | None:
    """What was kept; None where there is nothing, or nothing whole."""
    try:
        data = kept.read_bytes()
    except OSError:
        return None
    digest, content = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    return content if hashlib.sha256(content).digest() == digest else None
