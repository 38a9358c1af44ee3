"""Tests report to nobody either: this is imported before any of them imports a dependency."""

import infra  # noqa: F401 - before Prefect is imported, as in every process of the product
