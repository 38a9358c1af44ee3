"""The agent by its earlier name, which service files hold: `python -m infra.edge_agent` is `python -m infra.device`."""

import sys

from infra.device.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
