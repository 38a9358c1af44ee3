"""What a pruning plan may need beside the weights: Taylor scores from labelled images, latencies from this machine."""

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from modnet.configs import PruningConfig
from modnet.errors import ConfigError
from modnet.network import PrunableNetwork
from modnet.policies.policy import SteppedPolicy
from modnet.progress import Progress, progress_over
from modnet.pruning.criteria import Scores, taylor
from modnet.pruning.gates import Removed
from modnet.pruning.plan import MeasureLatency, PruningPlan, plan_pruning
from modnet.pruning.stepwise import plan_in_steps
from modnet.workload import LabelledData, Sample, Workload

TAYLOR_SHORT_SIDE = 256  # pixels


def needs_evidence(config: PruningConfig) -> bool:
    """True where the weights do not decide alone, so that planning takes more than seconds."""
    return config.criterion == "taylor" or config.policy.measures_latency


def plan_with_evidence(
    network: PrunableNetwork,
    config: PruningConfig,
    workload: Workload[Any],
    data: Callable[[], LabelledData] | None,
    *,
    threads: int,
) -> PruningPlan:
    """The plan for any config, with Taylor scores or latencies where it asks for them.

    Args:
        network: in evaluation mode.
        data: opens the data set; called for the criterion `taylor` alone.
        threads: of the inferences that the latency policy times.

    Raises:
        ConfigError: `taylor` without images.
        DatasetError: an image cannot be read.
        PruningError: what `plan_pruning` and `plan_in_steps` raise.
    """
    if config.criterion != "taylor":
        return plan_pruning(network, config, measure_latency=measure_latency(threads))
    if data is None:
        raise ConfigError("the criterion taylor looks at labelled images: say which data set")
    samples = _taylor_samples(config, data())
    is_stepped = isinstance(config.policy, SteppedPolicy)
    steps = config.taylor_steps if is_stepped else 1
    with Progress("looking by taylor", steps * len(samples), "image") as progress:

        def look(removed: Removed) -> Scores:
            return taylor(network, progress.passing(samples), workload.error, removed)

        if is_stepped:
            return plan_in_steps(network, config, look, steps=steps)
        scores = look({})
    return plan_pruning(network, config, scores=scores, measure_latency=measure_latency(threads))


def scores_for(
    network: PrunableNetwork, config: PruningConfig, workload: Workload[Any], data: LabelledData
) -> Scores | None:
    """Taylor scores of the workload's error on the first `config.taylor_images` of fit.

    Their short side is 256 pixels, or that of the data's own input where this is shorter.

    None for every other criterion than `taylor`: `plan_pruning` scores the weights by itself.

    Raises:
        DatasetError: an image cannot be read.
        PruningError: the fit split is empty.
    """
    if config.criterion != "taylor":
        return None
    return taylor(network, progress_over(_taylor_samples(config, data), "looking by taylor", "image"), workload.error)


def _taylor_samples(config: PruningConfig, data: LabelledData) -> list[Sample]:
    count = min(config.taylor_images, len(data.names("fit")))
    short_side = min(TAYLOR_SHORT_SIDE, *data.input_shapes()[0])
    return [data.sample("fit", position, short_side) for position in range(count)]


def measure_latency(threads: int) -> MeasureLatency:
    """A measuring function for the latency policy: median milliseconds of each network's FP32 IR.

    It computes one image, 512×512, or the network's example inputs.

    Every call exports its networks into a folder that is gone afterwards and times them in turns.
    """

    # Only the latency policy needs OpenVINO.
    from infra.device.documents.latency_summary import percentile
    from modnet.export.onnx_to_openvino import convert_ir
    from modnet.export.torch_to_onnx import export_onnx
    from modnet.export.torch_to_openvino import convert_traced
    from tasks.host_latency import interleaved_latencies

    def measure(networks: Sequence[PrunableNetwork]) -> list[float]:
        count = len(networks)
        with TemporaryDirectory() as temporary, Progress("timing networks", 2 * count, "step") as progress:
            irs = {}
            for number, network in enumerate(progress.passing(networks)):
                folder = Path(temporary) / str(number)
                if network.example_inputs is not None:
                    irs[str(number)] = convert_traced(network, network.example_inputs, folder / "network.xml")
                    continue
                onnx = export_onnx(network, folder / "network.onnx")
                irs[str(number)] = convert_ir(onnx, folder / "ir", targets=("cpu-fp32",))["cpu-fp32"].xml
            samples = interleaved_latencies(irs, threads)
            progress.advance(count)
            return [percentile(one, 0.5) for one in samples.values()]

    return measure
