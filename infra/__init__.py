"""Machines and services. No process that imports this sends usage statistics, see `infra.device`."""

import os
from pathlib import Path

from infra.device import NO_STATISTICS as NO_STATISTICS

# Prefect cannot be imported by a user without a home, as a container's is who has a number and no name. Debian names
# this one for them: nobody can put settings there.
try:
    Path.home()
except RuntimeError:
    os.environ["HOME"] = "/nonexistent"
