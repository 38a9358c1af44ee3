"""Who may do what on the S3 server of a single-machine run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from infra.local_stack.services import BUCKET


def store_identities(secrets: Mapping[str, str]) -> dict[str, Any]:
    """SeaweedFS's identities: `pipeline` may do everything, and so makes the bucket by its first write.

    `device` reads releases and pointers and adds reports; it cannot list, change or remove anything else.
    """
    bucket = f"arn:aws:s3:::{BUCKET}"
    listing = {"Condition": {"StringLike": {"s3:prefix": ["releases/*", "targets/*", "tuf/*"]}}}
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:GetObject"],
                "Resource": [f"{bucket}/{folder}/*" for folder in ("releases", "targets", "tuf")],
            },
            {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [bucket], **listing},
            {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": [f"{bucket}/reports/*"]},
        ],
    }
    rights: dict[str, dict[str, list[str]]] = {
        "pipeline": {"actions": ["Admin"]},
        "device": {"policyNames": ["device"]},
    }
    return {
        "identities": [
            {"name": name, "credentials": [{"accessKey": name, "secretKey": secrets[name]}], **right}
            for name, right in rights.items()
        ],
        "policies": [{"name": "device", "content": json.dumps(policy)}],
    }
