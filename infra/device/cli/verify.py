"""`verify`: fetches what the targets run now, and verifies it as the agent does; measures and sends nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from infra.device.agent.pace import ASKED_WITHIN_S, DOWNLOAD_WINDOW_S, bytes_below, must_move
from infra.device.cli.config import AgentConfig
from infra.device.cli.run import EXIT_CONFIGURATION, EXIT_OK, EXIT_REJECTED, EXIT_UNREACHABLE, trust_of
from infra.device.errors import (
    ContractError,
    DigestMismatchError,
    InfraError,
    NotStoredError,
    StoreUnavailableError,
)
from infra.device.releases import current_for, fetch_release
from infra.device.stores.object_store import open_store

if TYPE_CHECKING:
    from infra.device.trust import Trust


def verify(config: AgentConfig) -> tuple[int, list[str]]:
    """The exit code, and one line for each target.

    0: all verified, or nothing released yet. 3: refused, or not to be trusted. 4: no answer. 5: files are damaged.
    """
    config.set_aws()
    store = open_store(config.store)
    trust = trust_of(config, store)
    code, lines = EXIT_OK, []
    with tempfile.TemporaryDirectory(dir=_made(config.work_folder), prefix="verify-") as scratch:
        for target in config.targets:
            try:
                lines.append(f"{target}: {_verified(trust, target, config.device, Path(scratch))}")
            except (InfraError, OSError) as error:
                code = max(code, _exit_code(error))
                lines.append(f"{target}: {type(error).__name__}: {error}")
    return code, lines


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _verified(trust: Trust, target: str, device: str, folder: Path) -> str:
    try:
        with must_move("what is signed", ASKED_WITHIN_S):
            trust.refresh()
            pointer = current_for(trust, target, device)
    except NotStoredError:
        return "no release was promoted for it"
    with must_move(f"release {pointer.release_id}", DOWNLOAD_WINDOW_S, lambda: bytes_below(folder)):
        files = list(fetch_release(trust.store, pointer, folder).parent.iterdir())
    size_bytes = sum(path.stat().st_size for path in files if path.is_file())
    return f"release {pointer.release_id}, {len(files)} files of {size_bytes} bytes, signatures and digests are right"


def _exit_code(error: Exception) -> int:
    if isinstance(error, StoreUnavailableError):
        return EXIT_UNREACHABLE
    damaged = isinstance(error, (ContractError, DigestMismatchError, NotStoredError))
    return EXIT_REJECTED if damaged else EXIT_CONFIGURATION
