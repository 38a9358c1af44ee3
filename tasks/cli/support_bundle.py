"""`modnet support-bundle`: what somebody needs who was not there when it broke, as one zip."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from infra.device.files.atomic_file import atomic_file
from infra.local_stack.support import support_bundle as bundle_of
from tasks.cli import flags
from tasks.cli.flags import Options, Result


def support_bundle(options: Options) -> Result:
    """Writes the zip, for its owner alone, and says what could not be collected."""
    path: Path = options.out or Path(f"modnet-support-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.zip")
    flags.require_free(options, path)
    content, missing = bundle_of(options.stack, os.environ)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as partial:
        partial.write(content)
    return {"bundle": str(path), "missing": ", ".join(missing) or "nothing: all is in it"}
