"""What is signed in this process's store, for who reads it and for who changes it."""

from __future__ import annotations

import hashlib

from infra.device.trust import Trust
from infra.publishing.keys import Keys
from infra.publishing.repository import Publisher
from infra.settings import Settings
from tasks.stored import this_store


def this_trust() -> Trust:
    """What the keys of this process's settings have signed.

    Raises:
        SettingsError: there is no root metadata.
    """
    settings, store = Settings.from_env(), this_store()
    root = Keys(settings.keys_folder).root.to_bytes()
    return Trust(store, root, settings.cache_folder / "trust" / hashlib.sha256(store.address.encode()).hexdigest()[:12])


def this_publisher() -> Publisher:
    """Changes what is signed, by the keys of this process's settings.

    Raises:
        SettingsError: there is no root metadata. A missing key is told when something is signed.
    """
    return Publisher(this_store(), Keys(Settings.from_env().keys_folder))
