"""Waits until the object store in MODNET_STORE keeps an object and gives it back: an open port says less.

Exit codes: 0 ready, 1 not ready in time, 3 configuration. A program of its own because boto3 takes its identity from
the environment of the process.
"""

from __future__ import annotations

import sys
import time

from infra.device.errors import InfraError, NotStoredError, SettingsError, StoreUnavailableError
from infra.device.shown import ShownParser, shown
from infra.device.stores.object_store import ObjectStore, open_store
from infra.settings import Settings

READY_KEY = "stack/ready"
_POLL_S = 0.5


def wait_for_store(store: ObjectStore, limit_s: float) -> None:
    """Returns when an object of before can be read, if there was one, and a new one can be written and read.

    Raises:
        StoreUnavailableError: not within `limit_s` seconds.
    """
    deadline = time.monotonic() + limit_s
    while True:
        try:
            if _gives_back(store):
                return
            reason = f"{READY_KEY} came back with another content"
        except (StoreUnavailableError, NotStoredError, SettingsError) as error:
            reason = str(error)  # while it starts, a server also refuses its own identities
        if time.monotonic() >= deadline:
            raise StoreUnavailableError(f"{store.url}: not ready after {limit_s:g} s: {reason}")
        time.sleep(_POLL_S)


def _gives_back(store: ObjectStore) -> bool:
    content = str(time.time_ns()).encode()
    if store.exists(READY_KEY):
        store.get(READY_KEY)
    store.put(READY_KEY, content)
    return store.get(READY_KEY) == content


def main() -> int:
    """Waits as the command line says and returns the exit code."""
    parser = ShownParser(prog="python -m infra.local_stack.wait_for_store", description=__doc__.splitlines()[0])
    parser.add_argument("--limit-s", type=float, default=60.0, help="seconds to wait")
    limit_s = parser.parse_args().limit_s
    try:
        wait_for_store(open_store(Settings.from_env().store_url), limit_s)
    except InfraError as error:
        sys.stderr.write(f"{shown(error)}\n")
        return 1 if isinstance(error, StoreUnavailableError) else 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
