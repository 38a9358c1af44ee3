"""Which software made an export: every package that is installed where it was made."""

from __future__ import annotations

import json
import platform
import re
from email.message import Message
from importlib.metadata import distributions
from typing import Any
from urllib.parse import quote

FILE_NAME = "sbom.cdx.json"
"""Ends as CycloneDX recommends it for JSON."""

_PROJECT = "modnet-edge"
_NAMED = (_PROJECT, "torch", "onnx", "openvino", "nncf", "numpy")


def versions() -> dict[str, str]:
    """Of Python, and of the packages that shape an export."""
    installed = _installed()
    return {"python": platform.python_version()} | {
        name: str(installed[name]["Version"]) for name in _NAMED if name in installed
    }


def bill_of_materials() -> bytes:
    """A CycloneDX 1.6 document (https://cyclonedx.org/docs/1.6/json/) of this environment, UTF-8 JSON.

    It has neither serial number nor time, so the same environment gives the same bytes.
    """
    installed = _installed()
    project = installed.pop(_PROJECT, None)
    python = {"type": "platform", "name": platform.python_implementation(), "version": platform.python_version()}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "lifecycles": [{"phase": "build"}],
            "component": {"type": "application", "name": _PROJECT}
            if project is None
            else _component("application", _PROJECT, project),
        },
        "components": [python, *(_component("library", name, metadata) for name, metadata in installed.items())],
    }
    return json.dumps(document, indent=1, sort_keys=True).encode()


def _installed() -> dict[str, Message]:
    """Metadata of every distribution by its normalised name, in order; of one that is there twice, the imported one."""
    found: dict[str, Message] = {}
    for distribution in distributions():
        metadata: Any = distribution.metadata
        if metadata["Name"] and metadata["Version"]:  # a removed package may leave an empty folder behind
            found.setdefault(re.sub(r"[-_.]+", "-", metadata["Name"]).lower(), metadata)
    return dict(sorted(found.items()))


def _component(kind: str, name: str, metadata: Message) -> dict[str, Any]:
    purl = f"pkg:pypi/{name}@{quote(metadata['Version'], safe='')}"
    licences = _licences(metadata)
    return {
        "type": kind,
        "bom-ref": purl,
        "name": name,
        "version": metadata["Version"],
        "purl": purl,
        **({"licenses": licences} if licences else {}),
    }


def _licences(metadata: Message) -> list[dict[str, Any]]:
    """What a package says of its licence: an SPDX expression, or in its own words."""
    if expression := metadata["License-Expression"]:
        return [{"expression": expression}]
    classifiers = metadata.get_all("Classifier") or []
    names = dict.fromkeys(one.rpartition(" :: ")[2] for one in classifiers if one.startswith("License :: "))
    return [{"license": {"name": name}} for name in names]
