"""What ships to devices, all of it: the agent that measures released models, `python -m infra.device --help`.

Python 3.9 or newer; imports nothing but the standard library, numpy, openvino (2021.4 or newer), boto3, cryptography,
tuf and itself. `make agent` makes one file of it, with tuf. The pipeline uses the same stores, documents and measuring.

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
