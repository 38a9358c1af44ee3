"""Words for networks that the project brings along, wherever a checkpoint is named."""

from __future__ import annotations

SHIPPED = "shipped"
"""Stands for the unpruned network that the project brings along."""

SHIPPED_PRUNED = "shipped-pruned"
"""Stands for the small network that the project brings along: the shipped one, pruned and retrained."""

UNPRUNED = "unpruned"
"""Stands for a run's unpruned network, where it is said what candidates are pruned from."""

TRAIN = "train"
"""Stands for no checkpoint: the run trains its base network."""
