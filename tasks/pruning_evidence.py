"""What a pruning plan may need beside the weights: Taylor scores from labelled images, latencies from this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from modnet.configs import PruningConfig
from modnet.errors import ConfigError
from modnet.network import PrunableNetwork
from modnet.policies.policy import SteppedPolicy
from modnet.progress import Progress, progress_over
from modnet.pruning.criteria import Scores, taylor
from modnet.pruning.gates import Removed
from modnet.pruning.plan import MeasureLatency, PruningPlan, plan_pruning
from modnet.pruning.stepwise import plan_in_steps
from modnet.workloads.matting.data.indexing import DatasetIndex
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.portraits import alpha_mse, read_portraits

TAYLOR_SHORT_SIDE = 256

Images = tuple[Path, DatasetIndex]
"""A data set on this machine: the folder that the index's paths are relative to, and the index."""


def needs_evidence(config: PruningConfig) -> bool:
    """True where the weights do not decide alone, so that planning takes more than seconds."""
    return config.criterion == "taylor" or config.policy.measures_latency


def plan_with_evidence(
    network: MODNet, config: PruningConfig, images: Callable[[], Images] | None, *, threads: int
) -> PruningPlan:
    """The plan for any config, with Taylor scores or latencies where it asks for them.

    Args:
        network: in evaluation mode.
        config: policy, criterion, limits.
        images: opens the data set; called for the criterion `taylor` alone.
        threads: of the inferences that the latency policy times.

    Raises:
        ConfigError: `taylor` without images.
        DatasetError: a pair cannot be read.
        PruningError: what `plan_pruning` and `plan_in_steps` raise.
    """
    if config.criterion != "taylor":
        return plan_pruning(network, config, measure_latency=measure_latency(threads))
    if images is None:
        raise ConfigError("the criterion taylor looks at labelled images: say which data set")
    folder, index = images()
    portraits = read_portraits(folder, index.split("fit")[: config.taylor_images], TAYLOR_SHORT_SIDE)

    is_stepped = isinstance(config.policy, SteppedPolicy)
    steps = config.taylor_steps if is_stepped else 1

    with Progress("looking by taylor", steps * len(portraits), "image") as progress:

        def look(removed: Removed) -> Scores:
            return taylor(network, progress.passing(portraits), alpha_mse, removed)

        if is_stepped:
            return plan_in_steps(network, config, look, steps=steps)
        scores = look({})
    return plan_pruning(network, config, scores=scores, measure_latency=measure_latency(threads))


def scores_for(network: MODNet, config: PruningConfig, folder: Path, index: DatasetIndex) -> Scores | None:
    """Taylor scores of the error of alpha, where the config's criterion is `taylor`.

    The first `config.taylor_images` of the fit split are read, at a short side of 256 pixels. None for every other
    criterion: `plan_pruning` scores the weights by itself.

    Args:
        network: in evaluation mode.
        folder: what the paths of `index` are relative to.

    Raises:
        DatasetError: a pair cannot be read.
        PruningError: the fit split is empty.
    """
    if config.criterion != "taylor":
        return None
    pairs = index.split("fit")[: config.taylor_images]
    portraits = progress_over(read_portraits(folder, pairs, TAYLOR_SHORT_SIDE), "looking by taylor", "image")
    return taylor(network, portraits, alpha_mse)


def measure_latency(threads: int) -> MeasureLatency:
    """A measuring function for the latency policy: median milliseconds of each network's FP32 IR, 512×512, one image.

    Every call exports its networks into a folder that is gone afterwards and times them in turns.
    """

    # Only the latency policy needs OpenVINO.
    from modnet.export.onnx_to_openvino import convert_ir
    from modnet.export.torch_to_onnx import export_onnx
    from tasks.host_latency import median_latencies

    def measure(networks: Sequence[PrunableNetwork]) -> list[float]:
        count = len(networks)
        with TemporaryDirectory() as temporary, Progress("timing networks", 2 * count, "step") as progress:
            irs = {}
            for number, network in enumerate(progress.passing(networks)):
                folder = Path(temporary) / str(number)
                onnx = export_onnx(network, folder / "network.onnx")
                irs[str(number)] = convert_ir(onnx, folder / "ir", targets=("cpu-fp32",))["cpu-fp32"].xml
            medians = list(median_latencies(irs, threads).values())
            progress.advance(count)
            return medians

    return measure
