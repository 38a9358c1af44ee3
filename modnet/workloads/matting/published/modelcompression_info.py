"""The JSON beside a pruned checkpoint of MODNet-ModelCompression, from which it rebuilds the network."""

import json
from pathlib import Path
from typing import Any

from modnet.errors import CheckpointError
from modnet.workloads.matting.network.spec import ModnetSpec

UNPRUNED_DETAIL_WIDTH = 32


def prune_info(spec: ModnetSpec, *, threshold: float, ratio: float) -> dict[str, Any]:
    """What ModelCompression's JSON says of a network. The widths of detail and fusion branch follow from `ratio`."""
    outputs = [block.out_channels for block in spec.blocks]
    return {
        "ratio": ratio,
        "threshold": threshold,
        "new_cfg": [spec.stem_channels, *outputs, spec.last_channels],
        "new_expansion_cfg": [block.hidden_channels // block.in_channels for block in spec.blocks],
        "new_lr_channels": [spec.lr8x.total, spec.lr16x.total],
        "new_hr_channels": [outputs[spec.enc2x_block], outputs[spec.enc4x_block]],
        "new_f_channels": [spec.lr8x.total],
    }


def detail_width(ratio: float) -> int:
    """Width of the detail branch when a share `ratio` of its channels is removed."""
    return int(UNPRUNED_DETAIL_WIDTH * (1 - ratio))


def require_agreement(spec: ModnetSpec, path: Path) -> None:
    """Refuses a prune info file that describes another network than `spec`, which was read from tensors.

    Raises:
        CheckpointError: unreadable, not ModelCompression's JSON, or of another network; names the entry.
    """
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        ratio = float(said["ratio"])
        found = prune_info(spec, threshold=said["threshold"], ratio=ratio)
        compared = [(name, said[name], value) for name, value in found.items() if name != "ratio"]
        compared.append(("ratio (detail width)", detail_width(ratio), spec.to_enc2x.total))
    except OSError as error:
        raise CheckpointError(f"cannot read prune info {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{path} is not ModelCompression's prune info: {error!r}") from error
    for name, there, here in compared:
        if there != here:
            raise CheckpointError(f"{path} is of another checkpoint: {name} is {there} there, the tensors have {here}")
