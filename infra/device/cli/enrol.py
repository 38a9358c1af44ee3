"""`enrol URL TOKEN`: asks the ingest for this device's key, and writes all that the agent needs.

A token is a secret and the start of the SHA-256 of root.json. The secret alone is sent. So whoever stands between may
take the key, where there is no TLS, and still cannot have the device trust other signatures.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import urllib.request
from pathlib import Path

from infra.device.agent.door import Door, meaning
from infra.device.cli.config import AgentConfig
from infra.device.cli.read_config import read_config
from infra.device.documents.canonical_json import canonical_json
from infra.device.documents.checks import utc_now
from infra.device.documents.grant import ROOT_DIGITS, SECRET_DIGITS, Grant
from infra.device.errors import ContractError, SettingsError, StoreUnavailableError, UntrustedError
from infra.device.files.atomic_file import atomic_file
from infra.device.files.local_errors import local_errors

_TOKEN = re.compile(rf"[0-9a-f]{{{SECRET_DIGITS + ROOT_DIGITS}}}")


def enrol(url: str, token: str, path: Path) -> AgentConfig:
    """The settings of this device, written beside its key and the root metadata; nothing is written when it raises.

    Args:
        url: of the ingest.
        token: that `modnet device invite` has printed.
        path: of the file of the settings.

    Raises:
        SettingsError: the token is cut, there are settings already, or the folder cannot be written to. The token
            can still be used.
        StoreRefusesError: the ingest knows no such token, or it was used, or is too old.
        StoreUnavailableError: no answer, or what answers is not the ingest.
        UntrustedError: the root metadata is not what the token says.
    """
    door = Door(url)
    if not _TOKEN.fullmatch(token):
        raise SettingsError(
            f"token: got {len(token)} characters, wanted {SECRET_DIGITS + ROOT_DIGITS} of 0-9 a-f; copy the whole of it"
        )
    if path.name in ("key", "root.json"):
        raise SettingsError(f"{path}: wanted another name for the settings: key and root.json stand beside them")
    for one in (path, path.with_name("key"), path.with_name("root.json")):
        if one.exists():
            raise SettingsError(f"{one} is there already; remove it to enrol anew, or name another folder by --config")
    with local_errors(str(path.parent)):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()  # it can be written to: only now the token is used
    grant = _grant(door, token[:SECRET_DIGITS])
    digest = hashlib.sha256(grant.root).hexdigest()
    if digest[:ROOT_DIGITS] != token[SECRET_DIGITS:]:
        raise UntrustedError(
            f"root metadata from {door.url}: got SHA-256 {digest}, wanted one that begins with "
            f"{token[SECRET_DIGITS:]}, as the token says. Somebody may stand between: revoke this device, and look at "
            "the address and its certificate"
        )
    key = f"[default]\naws_access_key_id = {grant.key_id}\naws_secret_access_key = {grant.secret}\n"
    with local_errors(str(path.parent)):
        # A temporary file is born with mode 0600. The settings come last: without them nothing else is looked at.
        for name, content in (("root.json", grant.root), ("key", key.encode()), (path.name, _toml(grant, door))):
            with atomic_file(path.with_name(name)) as file:
                file.write(content)
    return read_config(path, {})


def _grant(door: Door, secret: str) -> Grant:
    request = urllib.request.Request(f"{door.url}/enrol", canonical_json({"token": secret}), method="POST")
    request.add_header("Content-Type", "application/json")
    status, answer = door.answer(request)
    if status != 200:
        raise meaning(status, answer, f"token to {door.url}")
    try:
        return Grant.from_json(canonical_json(answer))
    except ContractError as error:
        raise StoreUnavailableError(f"{door.url}: what answers is not the ingest, or is newer: {error}") from error


def _toml(grant: Grant, door: Door) -> bytes:
    values: dict[str, object] = {
        "device": grant.device,
        "targets": list(grant.targets),
        "store": grant.store,
        "endpoint": grant.endpoint,
        "region": grant.region,
        "ca_bundle": str(Path(bundle).absolute()) if (bundle := os.environ.get("AWS_CA_BUNDLE")) else None,
        "ingest": door.url,
        "root": "root.json",
        "key_file": "key",
        "work_folder": "work",
    }
    # JSON's texts and lists of texts are TOML's.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items() if value is not None]
    return "".join([f"# Written by enrol at {utc_now()}.\n", *lines]).encode()
