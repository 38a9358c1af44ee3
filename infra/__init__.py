"""Machines and services. Files that ship with the edge agent keep to Python 3.9.

No process that imports this sends usage statistics: its dependencies are told before any of them is imported.
"""

import os
import sys

# Prefect and Hugging Face heed the first, Prefect's server the second, Ray the third; child processes inherit them.
NO_STATISTICS = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "RAY_USAGE_STATS_ENABLED": "0"}
os.environ.update(NO_STATISTICS)
# OpenVINO (at each import) and nncf report with the first, Prefect with the second, whose identifier it keeps at home
# even when it is told not to. Where these cannot be imported, all three do without.
for reporter in ("openvino_telemetry", "amplitude"):
    sys.modules[reporter] = None  # type: ignore[assignment]
