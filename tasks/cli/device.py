"""`modnet device`: the devices that may read releases and send reports, each by a key of its own."""

from __future__ import annotations

import json
import os
import shlex
from datetime import timedelta
from pathlib import Path

from infra.device.errors import SettingsError
from infra.ingest.devices import POLICIES, Device
from infra.ingest.invitations import Place
from infra.local_stack.services import BUCKET
from infra.local_stack.stack import Stack
from infra.settings import Settings
from tasks.cli.flags import Options, Result
from tasks.tables import markdown_table


def add_device(options: Options) -> Result:
    """Makes a device's key, or takes the one that AWS has made, and says what the device must set."""
    key = None if options.aws is None else _aws_key(options.aws)
    stack = _stack(options)
    with stack.changing_devices() as devices:
        device = devices.add(options.name, key)
    environ, command = _on_the_device(device, None if key else stack)
    if options.json:
        return {"device": device.name, "environment": environ, "command": command}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in environ.items()]
    return {"device": f"{device.name}, added; on it set and start:", "table": "\n".join([*lines, command])}


def invite_device(options: Options) -> Result:
    """Makes a token with which the device gets its key by itself; adds the device where it is new or was revoked."""
    key = None if options.aws is None else _aws_key(options.aws)
    stack = _stack(options)
    endpoint, store, ingest = _addresses(None if key else stack)
    root = (options.root or stack.keys / "root.json").read_bytes()
    with stack.changing_devices() as devices:
        known = devices.devices().get(options.name)
        if key is not None or known is None or known.revoked_at is not None:
            devices.add(options.name, key)
        place = Place(store, endpoint, os.environ.get("AWS_DEFAULT_REGION"), tuple(options.targets), root)
        token = stack.invitations.add(options.name, place, lasts=timedelta(hours=options.hours))
    command = shlex.join(["python3", "modnet-agent.pyz", "enrol", ingest, token])
    if options.json:
        return {"device": options.name, "token": token, "command": command}
    says = f"{options.name}, invited; on it type this once, within {options.hours} h:"
    return {"device": says, "table": command}


def list_devices(options: Options) -> Result:
    """Shows every device and when it was added and revoked; no secrets."""
    found = _stack(options).devices().values()
    rows = [
        {"device": one.name, "key": one.key_id, "added": one.added_at, "revoked": one.revoked_at or ""} for one in found
    ]
    return {"devices": rows} if options.json else {"table": markdown_table(rows) if rows else "no devices"}


def revoke_device(options: Options) -> Result:
    """Makes a device's key and its token worthless, at the store and at the ingest; its reports stay."""
    stack = _stack(options)
    with stack.changing_devices() as devices:
        device = devices.revoke(options.name)
        stack.invitations.withdraw(options.name)
    return {"device": f"{device.name}, revoked at {device.revoked_at}"}


def show_policy(options: Options) -> Result:
    """Prints what a device, the ingest or the pipeline may do, as a policy for AWS's IAM; all devices have the same."""
    kind, _, place = Settings.from_env().store_url.partition("://")
    bucket, _, prefix = (place if kind == "s3" else BUCKET).partition("/")
    policy = POLICIES[options.whose](bucket, f"{prefix.strip('/')}/" if prefix else "")
    return {"policy": policy} if options.json else {"table": json.dumps(policy, indent=2)}


def _stack(options: Options) -> Stack:
    folder: Path = options.stack.absolute()
    return Stack(folder, folder.parent, os.environ)


def _aws_key(path: Path) -> tuple[str, str]:
    """Id and secret in what `aws iam create-access-key` prints."""
    try:
        key = json.loads(path.read_text())["AccessKey"]
        return str(key["AccessKeyId"]), str(key["SecretAccessKey"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise SettingsError(
            f"{path}: wanted the JSON that `aws iam create-access-key` prints ({type(error).__name__}: {error})"
        ) from error


def _addresses(stack: Stack | None) -> tuple[str | None, str, str]:
    """Endpoint, store and ingest: of the stack once it was started, else of the store that this environment names.

    None for a stack where another store has made the key.
    """
    if stack is not None and stack.was_started:
        return stack.store_endpoint, f"s3://{BUCKET}", stack.ingest_url
    return os.environ.get("AWS_ENDPOINT_URL"), Settings.from_env().store_url, "https://INGEST"


def _on_the_device(device: Device, stack: Stack | None) -> tuple[dict[str, str], str]:
    """Variables and command; `root.json` is that of the keys, copied to the device."""
    endpoint, store, ingest = _addresses(stack)
    environ = {"AWS_ACCESS_KEY_ID": device.key_id, "AWS_SECRET_ACCESS_KEY": device.secret}
    if endpoint is not None:
        environ = {"AWS_ENDPOINT_URL": endpoint, **environ}
    command = ["python", "-m", "infra.device", "--store", store, "--root", "root.json"]
    command += ["--ingest", ingest, "--device", device.name]
    return environ, shlex.join([*command, "--target", "cpu-int8", "--work-folder", "/var/lib/modnet"])
