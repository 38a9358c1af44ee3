from __future__ import annotations

import json
from dataclasses import replace

from infra.ingest.devices import Device
from infra.local_stack.store_identities import store_identities

AT = "20261129T120000.000000Z"
KITCHEN = Device("kitchen", "key-of-kitchen", "d", AT)


def test_store_identities_gives_the_device_no_right_to_change_releases() -> None:
    identities = store_identities(
        {"pipeline": "p", "ingest": "i"}, [KITCHEN, replace(KITCHEN, name="lost", revoked_at=AT)]
    )
    policies = {one["name"]: json.loads(one["content"])["Statement"] for one in identities["policies"]}
    assert {name: [one["Action"] for one in statements] for name, statements in policies.items()} == {
        "device": [["s3:GetObject"], ["s3:ListBucket"]],
        "ingest": [["s3:GetObject", "s3:PutObject"], ["s3:ListBucket"]],
    }
    folders = ["releases/*", "targets/*", "tuf/*"]
    assert policies["device"][0]["Resource"] == [f"arn:aws:s3:::modnet/{folder}" for folder in folders]
    assert policies["device"][1]["Condition"] == {"StringLike": {"s3:prefix": folders}}
    assert [(one["name"], one["credentials"]) for one in identities["identities"]] == [
        ("pipeline", [{"accessKey": "pipeline", "secretKey": "p"}]),
        ("ingest", [{"accessKey": "ingest", "secretKey": "i"}]),
        ("device-kitchen", [{"accessKey": "key-of-kitchen", "secretKey": "d"}]),
        ("device-lost", []),
    ]
