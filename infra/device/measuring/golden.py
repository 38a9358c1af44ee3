"""STUB until the real one is merged: what a network computes of the golden images of its release."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from infra.device.documents.latency_report import GoldenCheck
from infra.device.documents.manifest import Golden
from infra.device.errors import ContractError
from infra.device.measuring.runtime import LoadedModel


def check_golden(model: LoadedModel, path: Path, golden: Golden) -> GoldenCheck:
    """Runs every golden image.

    Raises:
        ContractError: the archive is none.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            inputs, outputs = archive["inputs"], archive["outputs"]
    except (OSError, ValueError, KeyError) as error:
        raise ContractError(f"{golden.path}: no golden file: {error}") from error
    worst = 0.0
    for image, wanted in zip(inputs, outputs):
        model._compiled.input_data[:] = image
        model.run_once()
        worst = max(worst, float(np.abs(model.output() - wanted).mean()))
    return GoldenCheck(len(inputs), worst, golden.tolerance)
