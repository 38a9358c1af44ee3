"""What a child is given: the files of a release on this machine, and those of the release before."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from infra.device.agent.pace import DOWNLOAD_WINDOW_S, bytes_below, must_move
from infra.device.documents.file_digest import FileDigest
from infra.device.documents.manifest import Manifest
from infra.device.documents.pointer import Pointer
from infra.device.errors import InfraError
from infra.device.measuring.request import MeasureSettings, Network
from infra.device.releases import fetch_release, manifest_of, pointer_before

if TYPE_CHECKING:
    from infra.device.trust import Trust

_OPEN = "-dynamic"  # targets whose network takes any size, and is measured in one of the runtime's choice

_log = logging.getLogger(__name__)


class Work:
    """The folder with what is being measured."""

    def __init__(self, trust: Trust, folder: Path, settings: MeasureSettings) -> None:
        """Removes what a kill has left."""
        self._trust = trust
        self._folder = folder
        self._settings = settings
        shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def folder(self) -> Iterator[None]:
        """Removes all that was fetched in the block when it ends."""
        try:
            yield
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def fetch(self, pointer: Pointer, *, compares: bool) -> Network:
        """Downloads and verifies what a pointer leads to, and the release before, where it compares and there is one.

        Raises:
            DigestMismatchError, ContractError, NotStoredError, DiskFullError: as `fetch_release`.
            StoreUnavailableError: also when almost nothing comes.
        """
        store, settings = self._trust.store, self._settings
        with must_move(f"release {pointer.release_id}", DOWNLOAD_WINDOW_S, lambda: bytes_below(self._folder)):
            ir_xml = fetch_release(store, pointer, self._folder)
            manifest = manifest_of(store, pointer)
            target_files = manifest.targets[pointer.target]
            network = Network(
                target=pointer.target,
                ir_xml=str(ir_xml),
                input_shape=() if pointer.target.endswith(_OPEN) else target_files.input_shape,
                warm_up=settings.warm_up,
                repeats=settings.repeats,
                threads=settings.threads,
            )
            if target_files.golden is not None:
                folder = self._folder / pointer.release_id / pointer.target
                golden = target_files.golden
                network = replace(network, golden=str(folder / golden.path), tolerance=golden.tolerance)
            former = self._fetch_former(pointer, manifest) if compares else None
            return network if former is None else replace(network, former_id=pointer.replaces, former_xml=str(former))

    def _fetch_former(self, pointer: Pointer, manifest: Manifest) -> Path | None:
        """The IR of the release before; None where there is none to be had, or it is the same."""
        if pointer.replaces is None:
            return None
        try:
            before = pointer_before(self._trust, pointer)
            if _ir(manifest_of(self._trust.store, before), pointer.target) == _ir(manifest, pointer.target):
                return None
            return fetch_release(self._trust.store, before, self._folder)
        except (InfraError, OSError) as error:  # the measurement goes on without it
            _log.warning("%s: no comparison with the release before: %s", pointer.target, error)
            return None


def _ir(manifest: Manifest, target: str) -> tuple[FileDigest, FileDigest]:
    target_files = manifest.targets[target]
    return manifest.files[target_files.ir_xml], manifest.files[target_files.ir_bin]
