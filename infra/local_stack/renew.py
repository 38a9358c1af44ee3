"""Signs anew what is released in MODNET_STORE, by the keys in MODNET_KEYS, where half of its time is over.

Exit codes: 0 signed or nothing to sign, 3 it cannot. A program of its own because boto3 takes its identity from the
environment of the process.
"""

from __future__ import annotations

import sys

from infra.device.errors import InfraError
from infra.device.shown import shown
from infra.device.stores.object_store import open_store
from infra.device.trust import METADATA
from infra.publishing.keys import Keys
from infra.publishing.repository import Publisher
from infra.settings import Settings


def main() -> int:
    """Renews and returns the exit code."""
    try:
        settings = Settings.from_env()
        store = open_store(settings.store_url)
        if store.exists(f"{METADATA}timestamp.json"):
            Publisher(store, Keys(settings.keys_folder)).renew(is_needed_only=True)
    except InfraError as error:
        sys.stderr.write(f"{shown(error)}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
