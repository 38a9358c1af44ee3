"""The smallest question that a night can be asked, for benchmarks and tests of what is around it."""

from __future__ import annotations

from pathlib import Path

import torch

from modnet.checkpoint import save_checkpoint
from modnet.configs import (
    AdaptivePolicy,
    BenchmarkConfig,
    DatasetConfig,
    ExportConfig,
    PruningConfig,
    SyntheticConfig,
)
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.settings import MattingRetraining
from tasks.configs.baseline import BaselineConfig
from tasks.configs.compress import CompressConfig

_SMALL = PruningConfig(channel_multiple=2, min_channels=2)


def tiny_run(folder: Path, *targets: str, **changes: object) -> CompressConfig:
    """A compression of a tiny network, with weights as drawn, on ten rendered portraits: two candidates, seconds each.

    Args:
        folder: gets a file with the network.
        targets: what is exported; `cpu-fp32` where none is given.
        changes: other fields of the run.
    """
    torch.manual_seed(0)  # the same base whenever it is asked
    base = save_checkpoint(MODNet(ModnetSpec.tiny()), folder / "tiny.safetensors", {})
    config = CompressConfig(
        dataset=DatasetConfig(synthetic=SyntheticConfig(train=8, val=2, height=128, width=96)),
        base=BaselineConfig(checkpoint=str(base)),
        pruning=(_SMALL, _SMALL.model_copy(update={"policy": AdaptivePolicy(global_ratio=0.25)})),
        retrain=MattingRetraining(epochs=2, image_size=64, batch_size=2),
        export=ExportConfig(
            targets=targets or ("cpu-fp32",),
            calibration_images=2,
            max_relative_error_increase=1.0,
            max_output_difference=0.02,  # these networks are hardly trained
        ),
        benchmark=BenchmarkConfig(wait_s=0),
    )
    return config.model_copy(update=changes)
