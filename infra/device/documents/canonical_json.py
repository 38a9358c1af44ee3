"""JSON of which equal values give equal bytes."""

from __future__ import annotations

import json

from infra.device.errors import ContractError


def canonical_json(value: object) -> bytes:
    """UTF-8 JSON with sorted keys and no white space: equal values give equal bytes.

    Raises:
        ContractError: the value holds what JSON cannot say (NaN, infinity, an object of another type).
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode("utf-8")
    except (TypeError, ValueError) as error:
        raise ContractError(f"cannot be written as JSON: {error}") from error
