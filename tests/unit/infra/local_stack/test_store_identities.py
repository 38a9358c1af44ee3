from __future__ import annotations

import json

from infra.local_stack.store_identities import store_identities


def test_store_identities_gives_the_device_no_right_to_change_releases() -> None:
    identities = store_identities({"pipeline": "p", "device": "d"})
    (statements,) = (json.loads(policy["content"])["Statement"] for policy in identities["policies"])
    assert [(one["Action"], one["Resource"]) for one in statements] == [
        (["s3:GetObject"], ["arn:aws:s3:::modnet/releases/*", "arn:aws:s3:::modnet/targets/*"]),
        (["s3:ListBucket"], ["arn:aws:s3:::modnet"]),
        (["s3:PutObject"], ["arn:aws:s3:::modnet/reports/*"]),
    ]
    assert [one["credentials"][0]["secretKey"] for one in identities["identities"]] == ["p", "d"]
