"""Keys for tests, made once a process, and who signs and trusts by them."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from tuf.api.metadata import Targets

from infra.device.stores.object_store import ObjectStore
from infra.device.trust import Trust
from infra.publishing.keys import Keys, development_keys
from infra.publishing.repository import Publisher


@cache
def folder() -> Path:
    """A folder that ends with the process."""
    made = tempfile.mkdtemp(prefix="modnet-signing-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


def keys() -> Keys:
    """All four keys."""
    return development_keys(folder() / "keys")


def root_file() -> Path:
    """What a device is given."""
    return keys().folder / "root.json"


def publisher_of(store: ObjectStore) -> Publisher:
    return Publisher(store, keys())


def trust_of(store: ObjectStore) -> Trust:
    """A reader who has seen nothing yet."""
    return Trust(store, root_file().read_bytes(), Path(tempfile.mkdtemp(dir=folder())))


def sign(store: ObjectStore, path: str, data: bytes) -> None:
    """Signs any bytes under a name, as a publisher that is broken might."""
    publisher = publisher_of(store)
    signed = publisher.put(path, data)

    def edit(targets: Targets) -> bool:
        targets.targets[path] = signed
        return True

    publisher.change(edit)
