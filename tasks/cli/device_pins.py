"""`modnet device pin` and `unpin`: one device runs a release, whatever its target runs."""

from __future__ import annotations

import os
from contextlib import suppress

from infra.device.errors import SettingsError
from infra.device.stores.folder_store import FolderStore
from infra.local_stack.stack import Stack
from infra.publishing import pointers
from infra.publishing.stops import DAMAGED
from tasks.cli.flags import Options, Result
from tasks.decisions import A_PERSON, record_decision
from tasks.signed import this_publisher
from tasks.stored import prompt_store


def pin_device(options: Options) -> Result:
    """Has one device run a release, once all its bytes verify."""
    publisher = this_publisher(prompt_store(options.store))
    if not isinstance(publisher.store, FolderStore):  # which has no keys of devices, so nobody knows their names
        _require_known(options)
    pointer = pointers.pin(publisher, options.target, options.name, options.release_id)
    words = f"device {options.name} runs release {pointer.release_id}, whatever {options.target} runs"
    current = None
    with suppress(*DAMAGED):
        current = pointers.current_of(publisher, options.target)
    before = None if current is None else current.release_id  # which the other devices run on
    after = before or pointer.release_id
    record_decision(publisher.store, "pinned", options.target, before=before, after=after, words=words, by=A_PERSON)
    return {"device": f"{options.name} runs {pointer.release_id} as {options.target}, until it is unpinned"}


def unpin_device(options: Options) -> Result:
    """Has a device run what its target runs again; also one that was revoked."""
    publisher = this_publisher(prompt_store(options.store))
    pointers.unpin(publisher, options.target, options.name)
    return {"device": f"{options.name} runs what {options.target} runs"}


def _require_known(options: Options) -> None:
    folder = options.stack.absolute()
    devices = Stack(folder, folder.parent, os.environ).devices()
    known = sorted(name for name, device in devices.items() if device.revoked_at is None)
    if options.name not in known:
        raise SettingsError(
            f"device {options.name!r}: unknown or revoked, wanted one of {known}, which are those of {folder}; "
            "--stack names another"
        )
