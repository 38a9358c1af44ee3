"""`modnet keys new`, `sign`, `rotate` and `show`: the keys that sign releases, and the root that names them."""

from __future__ import annotations

from infra.publishing.keys import ONLINE, ROOT, Keys, finish_rotation, new_keys, sign_root
from infra.publishing.repository import Publisher
from infra.settings import Settings
from tasks.cli.exit_codes import UsageError
from tasks.cli.flags import Options, Result
from tasks.stored import prompt_store


def make_keys(options: Options) -> Result:
    """Makes all keys, the root key into a folder of its own."""
    folder = options.keys or Settings.from_env().keys_folder
    if folder.resolve() == options.root_folder.resolve():
        raise UsageError(f"--root-folder {options.root_folder} is the folder of the other keys: name one to carry away")
    new_keys(folder, options.root_folder)
    return {"root key": str(options.root_folder / "root.pem"), "give to each device": str(folder / "root.json")}


def sign_keys(options: Options) -> Result:
    """Signs the root for another year, and everything that is released by the same keys."""
    _new_root(options, None)
    return show_keys(options)


def rotate_keys(options: Options) -> Result:
    """Replaces the key of one role, and signs everything that is released anew."""
    _new_root(options, options.role)
    return show_keys(options)


def _new_root(options: Options, rotated: str | None) -> None:
    store, folder = prompt_store(), options.keys or Settings.from_env().keys_folder
    with Keys(folder).locked():
        publisher = Publisher(store, Keys(folder))  # read again, since another command may have changed them
        publisher.require_signed()
        publisher.publish_root(sign_root(publisher.keys, options.root_folder, rotated))
        if rotated is not None:
            finish_rotation(options.root_folder if rotated == ROOT else folder, rotated)


def show_keys(options: Options) -> Result:
    """Which keys count, and until when the root does."""
    folder = options.keys or Settings.from_env().keys_folder
    root = Keys(folder).root.signed
    ids = {f"{role} key": ", ".join(key[:12] for key in root.roles[role].keyids) for role in (ROOT, *ONLINE)}
    return {"root": str(folder / "root.json"), "version": root.version, "counts until": str(root.expires), **ids}
