"""Latencies: candidates beside each other, and a new network beside the one that a target runs."""

import socket
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.cache import held_folder
from infra.device.documents.pointer import Pointer
from infra.device.errors import ContractError, DigestMismatchError, NotStoredError
from infra.device.releases import fetch_release, manifest_of
from modnet.configs import ExportConfig, RetrainConfig
from modnet.errors import ConfigError, ExportError, LoweringError, ParityError
from modnet.evaluation.intervals import difference_interval, median_ratio_interval
from modnet.export.accuracy_control import calibration_inputs
from modnet.export.export import export_network
from modnet.export.openvino_graph import OpenvinoGraph, ShapedGraphs
from modnet.records import (
    Candidate,
    Challenge,
    ExportRecord,
    HostLatencies,
    PrunedTiming,
    Scores,
    SearchBase,
    StoredFile,
    TimedForms,
)
from modnet.targets import VARIANTS, Target
from modnet.workload import LabelledData
from tasks.host_latency import interleaved_latencies
from tasks.remote.exports import export_options, uploaded
from tasks.remote.node import Node
from tasks.stored import fetch_to, get_record, identify
from tasks.stored_network import candidate_key, stored_network
from tasks.training_run import tune_error

CHALLENGE_ROUNDS = 31


def deciding_form(config: ExportConfig) -> Target:
    """The form by whose latency the fastest network is told: INT8 where devices run it, else FP32."""
    return "cpu-int8" if "cpu-int8" in config.targets else "cpu-fp32"


def timed_targets(config: ExportConfig) -> tuple[Target, ...]:
    """FP32, which all are compared in, and the form that decides."""
    return tuple(dict.fromkeys(("cpu-fp32", deciding_form(config))))


def written_targets(forms: TimedForms) -> list[Target]:
    """The forms of a network that can be timed."""
    return [target for target in VARIANTS if f"modnet-{target}.xml" in forms.files]


def make_timed_forms(node: Node, network_id: str, config: ExportConfig, key: str) -> TimedForms:
    """The IRs by which a network is timed beside others: FP32, and INT8 where devices run it.

    Their error is not measured: latency does not depend on it, and only the winner's forms are held to theirs.
    """
    checkpoint, dataset_id = stored_network(node.store, network_id)
    network = node.checkpoint(checkpoint, dataset_id).network
    inputs, targets = calibration_inputs(node.data(dataset_id), config.shape, config), timed_targets(config)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "forms"
        try:
            report = export_network(network, folder, targets=targets, **export_options(config, inputs))
        except (LoweringError, ParityError) as error:
            return TimedForms(network_id=network_id, files={}, refused=dict.fromkeys(targets, str(error)))
        files = uploaded(node.store, key, [path for path in folder.iterdir() if path.suffix in (".xml", ".bin")])
    return TimedForms(network_id=network_id, files=files, refused=report.refused)


def time_pruned(node: Node, candidate_id: str, config: ExportConfig, base: TimedForms) -> PrunedTiming:
    """How fast a candidate is, before it is trained: as FP32 IR in turns with the base's, on the CPUs of this call."""
    candidate = get_record(node.store, candidate_key(candidate_id), Candidate)
    network = node.checkpoint(candidate.pruned, candidate.dataset_id).network
    inputs = calibration_inputs(node.data(candidate.dataset_id), config.shape, config)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "forms"
        export_network(network, folder, targets=("cpu-fp32",), **export_options(config, inputs))
        xml = folder / "modnet-cpu-fp32.xml"
        names = [f"modnet-cpu-fp32.{ending}" for ending in ("xml", "bin")]
        irs = {"base": _fetched_ir(node, base.files, names), "candidate": xml}
        samples = interleaved_latencies(irs, node.cpus)
        size_bytes = xml.with_suffix(".bin").stat().st_size
    ratio = statistics.median(one / other for one, other in zip(samples["candidate"], samples["base"], strict=True))
    return PrunedTiming(
        candidate_id=candidate_id,
        latency_ratio=ratio,
        p50_ms=statistics.median(samples["candidate"]),
        size_bytes=size_bytes,
    )


def base_figures(node: Node, base_id: str, training: RetrainConfig, config: ExportConfig, key: str) -> SearchBase:
    """What candidates are compared with: the error of the base as trainings score it, and its FP32 IR."""
    checkpoint, dataset_id = stored_network(node.store, base_id)
    network, data = node.checkpoint(checkpoint, dataset_id).network, node.data(dataset_id)
    error = tune_error(network.eval(), data, training, "cpu", config.shapes)
    config = config.model_copy(update={"targets": ("cpu-fp32",)})
    return SearchBase(base_id=base_id, tune_error=error, forms=make_timed_forms(node, base_id, config, key))


def measure_on_host(node: Node, forms: list[TimedForms], deciding_form: Target) -> HostLatencies:
    """Latencies of every network's forms on this node, all of them in every round."""
    irs = {}
    for one in forms:
        for target in written_targets(one):
            names = [f"modnet-{target}.{ending}" for ending in ("xml", "bin")]
            irs[f"{one.network_id} {target}"] = _fetched_ir(node, one.files, names)
    samples = interleaved_latencies(irs, node.cpus)
    samples_ms = {
        one.network_id: {target: samples[f"{one.network_id} {target}"] for target in written_targets(one)}
        for one in forms
    }
    return HostLatencies(host=socket.gethostname(), deciding_form=deciding_form, samples_ms=samples_ms)


def challenge_current(
    node: Node, target: Target, current: str, manifest_sha256: str, network_id: str, export_key: str
) -> Challenge:
    """Compares an exported network with the release that a target runs: error on tune, latency in turns on this node.

    Where one of them has a second IR, of its shape turned, images are read by the IR that fits them. Latency is that of
    the main one. `manifest_sha256` is the current release's, as the pointer says; `export_key` is of the ExportRecord.
    """
    export = get_record(node.store, export_key, ExportRecord)
    new = _fetched_ir(node, export.files, export.ir_files(target))
    dataset_id = stored_network(node.store, network_id)[1]
    data, workload = node.data(dataset_id), node.workload(dataset_id).name
    pointer = Pointer(target=target, release_id=current, manifest_sha256=manifest_sha256)
    with tempfile.TemporaryDirectory() as temporary:
        try:
            running = fetch_release(node.store, pointer, Path(temporary))
            if (other := manifest_of(node.store, pointer).workload) != workload:
                return Challenge(target=target, release_id=current, workload=other, new_workload=workload)
            current_scores = _tune_scores(running, data)
            samples = interleaved_latencies({"current": running, "new": new}, node.cpus, CHALLENGE_ROUNDS)
        except (NotStoredError, ContractError, DigestMismatchError, ExportError, ConfigError) as error:
            return Challenge(target=target, release_id=current, problem=str(error))
    ratio, new_scores = median_ratio_interval(samples["new"], samples["current"]), _tune_scores(new, data)
    # Each reads images in its own shape, so protocols may differ: as each is released is what is compared.
    as_one = new_scores.model_copy(update={"protocol": current_scores.protocol})
    difference = difference_interval(as_one, current_scores, next(iter(current_scores.errors)))
    return Challenge(
        target=target,
        release_id=current,
        current_error=current_scores.error,
        new_error=new_scores.error,
        difference_low=difference.low,
        difference_high=difference.high,
        latency_ratio=ratio.mean,
        low=ratio.low,
        high=ratio.high,
    )


def _fetched_ir(node: Node, files: Mapping[str, StoredFile], names: Sequence[str]) -> Path:
    """A local `.xml`, the others beside it. All name their folder: networks of one architecture share the `.xml`."""
    folder = node.settings.cache_folder / "exports" / identify(**{name: files[name].sha256 for name in names})
    held_folder(folder)
    for name in names:
        fetch_to(node.store, files[name], folder / name)
    return folder / names[0]


def _tune_scores(xml: Path, data: LabelledData) -> Scores:
    """Scores on tune of an IR, and of the one beside it of its turned shape, at the sizes that they read."""
    graphs = ShapedGraphs([OpenvinoGraph(one) for one in sorted(xml.parent.glob("*.xml"))])
    return data.scores(graphs, "tune", graphs.shapes)
