"""Flow export."""

from prefect import flow, get_run_logger

from modnet.configs import ComputeConfig, ExportConfig
from modnet.errors import ExportError
from modnet.records import HostLatencies
from tasks.export import export_network, measure_on_host


@flow(name="export")
def export(
    network_id: str,
    others: list[str] | None = None,
    config: ExportConfig = ExportConfig(),
    compute: ComputeConfig = ComputeConfig(),
) -> HostLatencies:
    """Exports a base or a retrained candidate to ONNX and OpenVINO, and times it beside others.

    `network_id` gets every target of the config; the `others` only cpu-fp32, to be timed in turns with it here. A form
    that computes another matte than torch is refused, and without any other form the run fails; of the others such a
    network is only not timed.
    """
    timing = config.model_copy(update={"targets": ("cpu-fp32",)})
    release = export_network.submit(network_id, config, compute)
    references = [export_network.submit(other, timing, compute) for other in others or []]
    exports = [release.result()]
    for reference in references:
        reference.wait()
        if reference.state.is_completed():
            exports.append(reference.result())
        else:  # it is only missing from the timing
            get_run_logger().warning("not timed: %s", reference.state.message)
    if exports[0].refusal is not None:
        raise ExportError(f"{network_id} cannot be released: {exports[0].refusal}")
    timed = []
    for one in exports:
        if "cpu-fp32" in one.targets:
            timed.append(one)
        else:
            reason = one.refused.get("cpu-fp32", "not asked for")
            get_run_logger().warning("not timed: %s has no cpu-fp32: %s", one.network_id, reason)
    return measure_on_host(timed, compute)
