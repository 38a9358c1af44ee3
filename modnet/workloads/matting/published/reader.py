"""Reads the checkpoints that others have published of MODNet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.published.layout import is_modelcompression_layout, our_state, spec_from_shapes
from modnet.workloads.matting.published.modelcompression_info import require_agreement


def read_published(
    state: Mapping[str, Tensor], where: str, prune_info: Path | None
) -> tuple[ModnetSpec, Mapping[str, Tensor], str]:
    """Spec and tensors of an official checkpoint or of one of MODNet-ModelCompression, and which of the two it is.

    Args:
        state: tensors by their published names.
        where: what they are of, for errors.
        prune_info: the JSON beside a pruned checkpoint of MODNet-ModelCompression. The widths are read from the
            tensors, so it may be missing; when given it must agree with them.

    Raises:
        CheckpointError: no such checkpoint, or not in agreement with `prune_info`.
    """
    ours = our_state(state, where)
    spec = spec_from_shapes(ours, where)
    if prune_info is not None:
        require_agreement(spec, prune_info)
    return spec, ours, "modelcompression" if is_modelcompression_layout(state) else "official"
