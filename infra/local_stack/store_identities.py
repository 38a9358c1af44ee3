"""Who may do what on the S3 server of a single-machine run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from infra.ingest.devices import IDENTITIES, Device, device_policy, ingest_policy
from infra.local_stack.services import BUCKET


def store_identities(secrets: Mapping[str, str], devices: Iterable[Device]) -> dict[str, Any]:
    """SeaweedFS's identities: `pipeline` may do everything, and so makes the bucket by its first write.

    `ingest` reads and writes reports. Each device reads what is released, and writes nothing. A revoked one stays in
    the list, without its key: SeaweedFS forgets nobody who was left out, until it starts anew.
    """
    rights: dict[str, dict[str, list[str]]] = {
        "pipeline": {"actions": ["Admin"]},
        "ingest": {"policyNames": ["ingest"]},
    }
    of_services = [{"name": name, "credentials": [_key(name, secrets[name])], **rights[name]} for name in IDENTITIES]
    of_devices = [
        {
            "name": f"device-{device.name}",
            "credentials": [_key(device.key_id, device.secret)] if device.revoked_at is None else [],
            "policyNames": ["device"],
        }
        for device in devices
    ]
    policies = {"device": device_policy(BUCKET), "ingest": ingest_policy(BUCKET)}
    return {
        "identities": of_services + of_devices,
        "policies": [{"name": name, "content": json.dumps(content)} for name, content in policies.items()],
    }


def _key(key_id: str, secret: str) -> dict[str, str]:
    return {"accessKey": key_id, "secretKey": secret}
