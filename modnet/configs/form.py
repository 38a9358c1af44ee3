"""How configs look in the run form of the Prefect UI."""

from typing import Any

from pydantic import BeforeValidator

from modnet.config import Config


def as_tabs(schema: dict[str, Any]) -> None:
    """Says `anyOf` where pydantic says `oneOf`: the run form shows that as tabs with fields, the other as bare JSON."""
    schema["anyOf"] = schema.pop("oneOf")
    del schema["discriminator"]


def may_be_empty(schema: dict[str, Any]) -> None:
    """Lets a section be null, which its model fills in: the run form then shows its fields only to who opens it."""
    told: dict[str, Any] = {name: schema.pop(name) for name in ("title", "description", "default") if name in schema}
    inner = dict(schema)
    schema.clear()
    schema.update(told, anyOf=[{"type": "null", "title": "as usual"}, inner], default=None)


def usual_when_empty(usual: Config) -> BeforeValidator:
    """Fills in a section that `may_be_empty`."""
    return BeforeValidator(lambda section: usual if section is None else section)
