"""Artifacts for the Prefect UI, as `prefect.artifacts` makes them, except that none of them ends the work it shows."""

from collections.abc import Callable
from typing import Any

from prefect import artifacts, get_run_logger

from infra.device.shown import shown
from modnet.report.run_tables import Row


def create_table_artifact(table: list[Row], *, key: str, description: str) -> None:
    """A table; a Prefect server that does not take it is a warning in the log."""
    escaped = [{name: shown(cell) for name, cell in row.items()} for row in table]
    _show(artifacts.create_table_artifact, key, table=escaped, description=description)


def create_markdown_artifact(markdown: str, *, key: str, description: str) -> None:
    """A text; a Prefect server that does not take it is a warning in the log."""
    _show(artifacts.create_markdown_artifact, key, markdown=markdown, description=description)


def create_image_artifact(image_url: str, *, key: str, description: str) -> None:
    """A picture that lies at an address; a Prefect server that does not take it is a warning in the log."""
    _show(artifacts.create_image_artifact, key, image_url=image_url, description=description)


def create_link_artifact(link: str, *, key: str, link_text: str, description: str) -> None:
    """A link; a Prefect server that does not take it is a warning in the log."""
    _show(artifacts.create_link_artifact, key, link=link, link_text=link_text, description=description)


def _show(create: Callable[..., Any], key: str, **what: Any) -> None:
    try:
        create(key=key, **what)
    except Exception as error:  # Prefect's client and server fail in many ways, and what is shown is done already
        problem = f"{type(error).__name__}: {error}"
        get_run_logger().warning("artifact %s cannot be shown, the work goes on: %s", key, problem)
