"""What infra/deploy/ says, read by contract tests and run by an integration test."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "infra" / "deploy"


def compose() -> dict[str, Any]:
    """compose.yaml, with its variables as they are written."""
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text()))


def kubernetes() -> list[dict[str, Any]]:
    """The resources of kubernetes.yaml."""
    return list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))


def ray_in_kubernetes() -> tuple[list[str], dict[str, str]]:
    """The command that makes a node's certificate, and the variables by which Ray uses it."""
    cluster = next(one for one in kubernetes() if one["kind"] == "RayCluster")
    pod = cluster["spec"]["headGroupSpec"]["template"]["spec"]
    (certificate,), (container,) = pod["initContainers"], pod["containers"]
    return list(certificate["command"]), {one["name"]: one["value"] for one in container["env"] if "value" in one}


def image_environ() -> dict[str, str]:
    """The variables that the image sets, PATH left out."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    found = re.search(r"^ENV (.*)$", text, re.MULTILINE)
    assert found is not None
    pairs = [pair.partition("=") for pair in found[1].split()]
    return {name: value for name, _, value in pairs if name != "PATH"}
