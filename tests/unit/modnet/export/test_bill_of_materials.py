from __future__ import annotations

import importlib.metadata
import json

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from modnet.export import bill_of_materials as sbom


def test_it_is_a_cyclonedx_document_of_all_that_is_installed() -> None:
    content = sbom.bill_of_materials()
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(content.decode())
    assert problem is None, problem.data.message
    document = json.loads(content)
    components = {component["name"]: component for component in document["components"]}
    assert len(components) == len(document["components"])
    assert components["numpy"]["version"] == importlib.metadata.version("numpy")
    assert components["numpy"]["licenses"]
    assert components["pyyaml"]["purl"] == f"pkg:pypi/pyyaml@{importlib.metadata.version('PyYAML')}"
    assert document["metadata"]["component"]["name"] == "modnet-edge"
    assert components["CPython"]["version"] == sbom.versions()["python"]


def test_the_same_environment_gives_the_same_bytes_in_whatever_order_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = sbom.bill_of_materials()
    installed = {
        one.name.lower(): one for one in reversed(list(importlib.metadata.distributions()))
    }  # the first counts
    monkeypatch.setattr(sbom, "distributions", lambda: list(installed.values()))
    assert sbom.bill_of_materials() == content


def test_a_local_version_is_escaped_and_a_package_that_is_there_twice_stands_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def distribution(text: str) -> importlib.metadata.Distribution:
        class Installed(importlib.metadata.Distribution):
            def read_text(self, filename: str) -> str | None:
                return text if filename == "METADATA" else None

            def locate_file(self, path: object) -> object:
                raise NotImplementedError

        return Installed()

    found = [
        distribution("Name: Some_Net\nVersion: 1.0+cpu\nClassifier: License :: OSI Approved :: MIT License\n"),
        distribution("Name: some-net\nVersion: 0.9\n"),
        distribution("Version: 1\n"),
    ]
    monkeypatch.setattr(sbom, "distributions", lambda: found)
    _, component = json.loads(sbom.bill_of_materials())["components"]
    assert component["purl"] == "pkg:pypi/some-net@1.0%2Bcpu"
    assert component["licenses"] == [{"license": {"name": "MIT License"}}]
