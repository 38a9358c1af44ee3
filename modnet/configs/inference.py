"""What a network makes of an image."""

from __future__ import annotations

from typing import Literal

ResultKind = Literal["alpha", "foreground", "composite"]
"""What `modnet infer` makes of an image, see `modnet.workloads.matting.predict.results`."""
