"""What is signed in this process's store, for who reads it and for who changes it."""

from __future__ import annotations

import hashlib

from infra.device.stores.object_store import ObjectStore
from infra.device.trust import Trust
from infra.publishing.keys import Keys
from infra.publishing.repository import Publisher
from infra.settings import Settings
from tasks.stored import prompt_store, waited_for


def this_trust(store: ObjectStore | None = None) -> Trust:
    """What the keys of this process's settings have signed in a store.

    Args:
        store: which is asked once; None: the settings' own, which is waited for.

    Raises:
        SettingsError: there is no root metadata.
    """
    settings, given = Settings.from_env(), store
    store = given or prompt_store()
    root = Keys(settings.keys_folder).roots[0].to_bytes()  # the first: what was verified is remembered by it
    folder = settings.cache_folder / "trust" / hashlib.sha256(store.address.encode()).hexdigest()[:12]
    trust = Trust(store, root, folder)
    return trust if given else waited_for(trust, store.url)  # not the store: a lock is held while it is read


def this_publisher(store: ObjectStore | None = None) -> Publisher:
    """Changes what is signed in a store, by default in the settings' own, by the keys of this process's settings.

    Raises:
        SettingsError: there is no root metadata. A missing key is told when something is signed.
    """
    return Publisher(store or prompt_store(), Keys(Settings.from_env().keys_folder))
