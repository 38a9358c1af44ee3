"""What the agent of one device must know; `read_config` reads it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from infra.device.agent.settings import Deadlines, RuntimeSettings
from infra.device.errors import SettingsError
from infra.device.files.local_errors import local_errors
from infra.device.measuring.request import MeasureSettings

MOST_BYTES = 64 << 10  # of a file of settings, or of a key


@dataclass(frozen=True)
class AgentConfig:
    """What the agent of one device must know; KEYS describes each."""

    device: str
    store: str
    root: Path
    work_folder: Path
    runtimes: tuple[RuntimeSettings, ...]
    ingest: str | None = None
    endpoint: str | None = None
    region: str | None = None
    ca_bundle: Path | None = None
    key_file: Path | None = None
    interval_s: float = 300.0
    warm_up: int = MeasureSettings.warm_up
    repeats: int = MeasureSettings.repeats
    threads: int | None = MeasureSettings.threads
    load_s: float = Deadlines.load_s
    inference_s: float = Deadlines.inference_s

    @property
    def targets(self) -> list[str]:
        """Those of all runtimes, each once, in the order in which they stand there."""
        return list(dict.fromkeys(target for runtime in self.runtimes for target in runtime.targets))

    def set_aws(self) -> None:
        """Tells boto3 endpoint, region, authority and key, by its own variables where they are not set.

        The secret stays in its file: no process that the agent starts finds it in its environment.

        Raises:
            SettingsError: the file of the key is open to other users, or holds no key.
        """
        values = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_CA_BUNDLE": self.ca_bundle,
            "AWS_SHARED_CREDENTIALS_FILE": self.key_file,
            "AWS_CONFIG_FILE": self.key_file and os.devnull,
        }
        for name, value in values.items():
            if value is not None:
                os.environ.setdefault(name, str(value))
        if self.key_file is not None:
            check_key_file(self.key_file)


def check_key_file(path: Path) -> None:
    """Refuses a file of a key that others may read, or that holds none.

    Raises:
        SettingsError: says what to do.
    """
    wanted = "[default] with aws_access_key_id and aws_secret_access_key, as `enrol` writes it"
    with local_errors(str(path)):
        try:
            with open(path, "rb") as file:
                mode, data = os.fstat(file.fileno()).st_mode, file.read(MOST_BYTES)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise SettingsError(f"key_file {path}: {error.strerror}, wanted {wanted}") from error
    if mode & 0o077:
        raise SettingsError(
            f"key_file {path}: open to other users (mode {mode & 0o777:03o}, wanted 600): chmod 600 {path}"
        )
    text = data.decode(errors="replace")
    keys = (r"^\[default\]", r"^aws_access_key_id *= *\S", r"^aws_secret_access_key *= *\S")
    if not all(re.search(key, text, re.MULTILINE) for key in keys):
        raise SettingsError(f"key_file {path}: wanted {wanted}")
