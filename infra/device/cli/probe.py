"""What one runtime of this machine can do: `python -m infra.device.cli.probe TARGET...`, in that runtime's Python.

`doctor` starts it, so that a library that crashes takes no more with it. Prints one JSON object: `runtime` and
`devices`, and `wrong`, which says for each target that cannot be measured here why; or `error`.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Sequence

from infra.device.errors import SettingsError
from infra.device.measuring.runtime import check_device, device_of, devices, runtime_text


def probed(targets: Sequence[str]) -> dict[str, object]:
    """What is printed."""
    try:
        found: dict[str, object] = {"runtime": runtime_text(), "devices": devices()}
    except SettingsError as error:
        return {"error": str(error)}
    wrong = {}
    for target in targets:
        try:
            check_device(device_of(target))
        except SettingsError as error:
            wrong[target] = str(error)
    return {"python": platform.python_version(), **found, "wrong": wrong}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(probed(sys.argv[1:])))
