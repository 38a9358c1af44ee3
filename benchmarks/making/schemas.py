"""Writes the JSON Schemas of what other programs may read or write, from the code that reads and writes it.

    python -m benchmarks.making.schemas     writes docs/schemas/

A schema says which fields there are and of what type. What it cannot say (digests that fit, names that exist) the
reader checks all the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from infra.device.documents.document import Document
from infra.device.documents.latency_report import LatencyReport
from infra.device.documents.manifest import Manifest
from infra.device.documents.pointer import Pointer
from infra.device.documents.trials import Trials
from modnet.checkpoint import FORMAT
from modnet.pruning.plan import PruningPlan
from modnet.records import Provenance, Scores
from modnet.workloads.matting.network.spec import ModnetSpec
from tasks.configs.compress import CompressConfig
from tasks.history_form import History

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "schemas"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _of(model: Any) -> dict[str, Any]:
    """The fields of a pydantic model; those with a default may be left out."""
    return TypeAdapter(model).json_schema()


def _document(kind: type[Document]) -> dict[str, Any]:
    """The fields of a document that devices and the store exchange; all of them are always there, and no others."""
    schema = TypeAdapter(kind).json_schema()
    for inner in schema.get("$defs", {}).values():
        inner["required"] = list(inner["properties"])
    return schema | {"required": list(schema["properties"]), "additionalProperties": False}


def _plan_file() -> dict[str, Any]:
    """A plan with the digest of its content."""
    plan = _of(PruningPlan)
    return _object({"sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"}, "plan": plan}, plan.pop("$defs"))


def _checkpoint_header() -> dict[str, Any]:
    """The text under `modnet` in the metadata of the safetensors file."""
    spec = _of(ModnetSpec)
    workload = {"type": "string"}  # files of version 0.1.0 do not say it
    members = {"format": {"const": FORMAT}, "workload": workload, "spec": spec, "provenance": {"type": "object"}}
    return _object(members, spec.pop("$defs", {}))


def _object(members: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": members, "required": list(members), "$defs": definitions}


SCHEMAS: dict[str, Callable[[], dict[str, Any]]] = {
    "manifest": lambda: _document(Manifest),
    "provenance": lambda: _of(Provenance),
    "pointer": lambda: _document(Pointer),
    "trials": lambda: _document(Trials),
    "report": lambda: _document(LatencyReport),
    "plan": _plan_file,
    "checkpoint-header": _checkpoint_header,
    "scores": lambda: _of(Scores),
    "history": lambda: _of(History),
    "compress-config": lambda: _of(CompressConfig),
}


def schema_text(name: str) -> str:
    """The content of one schema's file."""
    return json.dumps({"$schema": _DIALECT, "$id": f"{name}.schema.json", **SCHEMAS[name]()}, indent=1) + "\n"


def main() -> None:
    """Writes every schema."""
    for name in SCHEMAS:
        (FOLDER / f"{name}.schema.json").write_text(schema_text(name))


if __name__ == "__main__":
    main()
