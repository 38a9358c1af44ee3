"""The newest timestamp that this machine has seen of each store, so that an older one is refused."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

from infra.device.errors import SettingsError
from infra.device.files.atomic_file import atomic_file
from infra.device.files.local_errors import local_errors


class SignedMemory:
    """One store's line in `signed.json` of a folder of keys."""

    def __init__(self, folder: Path, address: str) -> None:
        self._path = folder / "signed.json"
        self._address = address

    def version(self) -> int:
        """Of the newest timestamp; 0 for none.

        Raises:
            SettingsError: the file is damaged.
        """
        return self._all().get(self._address, 0)

    def keep(self, version: int) -> None:
        """Remembers a version, unless a newer one is known.

        Raises:
            DiskFullError: no room; what was signed is signed.
        """
        if version <= self.version():
            return
        with (
            local_errors(f"{self._path} (the change itself is done)"),
            open(self._path.with_suffix(".lock"), "wb") as lock,
        ):
            fcntl.flock(lock, fcntl.LOCK_EX)
            known = self._all()
            known[self._address] = max(version, known.get(self._address, 0))
            with atomic_file(self._path) as file:
                file.write(json.dumps(known).encode())

    def _all(self) -> dict[str, int]:
        try:
            return {str(one): int(version) for one, version in json.loads(self._path.read_text()).items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError) as error:
            raise SettingsError(
                f"{self._path}: got no record of what was signed: {error}; where the store is as you left it, remove "
                "the file"
            ) from error
