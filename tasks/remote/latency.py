"""Latencies: candidates beside each other, and a new network beside the one that a target runs."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path

from infra.device.documents.pointer import Pointer
from infra.device.errors import ContractError, DigestMismatchError, NotStoredError
from infra.device.releases import fetch_release, read_manifest
from infra.device.stores.object_store import ObjectStore
from modnet.configs import ExportConfig
from modnet.errors import ConfigError, ExportError, LoweringError, ParityError
from modnet.evaluation.intervals import median_ratio_interval
from modnet.export.export import export_network
from modnet.export.openvino_graph import OpenvinoGraph
from modnet.records import Challenge, ExportRecord, HostLatencies, StoredFile, TimedForms
from modnet.targets import VARIANTS, Target
from modnet.workload import LabelledData
from tasks.host_latency import interleaved_latencies
from tasks.remote.exports import PARITY_IMAGES, calibration_inputs
from tasks.remote.node import this_node
from tasks.stored import fetch_to, get_record, identify, once, upload
from tasks.stored_network import stored_network

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


def make_timed_forms(network_id: str, config: ExportConfig, key: str, cpus: int) -> TimedForms:
    """The IRs by which a network is timed beside others: FP32, and INT8 where devices run it.

    Their error is not measured: latency does not depend on it, and only the winner's forms are held to theirs.
    """
    node = this_node(cpus)
    checkpoint, dataset_id = stored_network(node.store, network_id)

    def compute() -> TimedForms:
        network = node.checkpoint(checkpoint, dataset_id).network
        inputs = calibration_inputs(config, node.data(dataset_id))
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "forms"
            try:
                report = export_network(
                    network,
                    folder,
                    size=config.size,
                    targets=timed_targets(config),
                    input_format=config.input_format,
                    max_difference=config.max_output_difference,
                    calibration=inputs,
                    parity_images=inputs[:PARITY_IMAGES],
                )
            except (LoweringError, ParityError) as error:
                return TimedForms(
                    network_id=network_id, files={}, refused=dict.fromkeys(timed_targets(config), str(error))
                )
            names = sorted(path.name for path in folder.iterdir() if path.suffix in (".xml", ".bin"))
            files = {name: upload(node.store, f"{key.rpartition('/')[0]}/{name}", folder / name) for name in names}
        return TimedForms(network_id=network_id, files=files, refused=report.refused)

    return once(node.store, key, TimedForms, compute)


def measure_on_host(forms: list[TimedForms], deciding_form: Target, key: str, threads: int) -> HostLatencies:
    """Latencies of every network's forms on this node, all of them in every round."""
    node = this_node(threads)

    def compute() -> HostLatencies:
        irs = {}
        for one in forms:
            for target in written_targets(one):
                files = {name: one.files[name] for name in (f"modnet-{target}.xml", f"modnet-{target}.bin")}
                irs[f"{one.network_id} {target}"] = _fetched_ir(node.store, files, node.settings.cache_folder)
        samples = interleaved_latencies(irs, threads)
        return HostLatencies(
            host=socket.gethostname(),
            deciding_form=deciding_form,
            samples_ms={
                one.network_id: {target: samples[f"{one.network_id} {target}"] for target in written_targets(one)}
                for one in forms
            },
        )

    return once(node.store, key, HostLatencies, compute)


def challenge_current(
    target: Target, current: str, manifest_sha256: str, network_id: str, export_key: str, key: str, cpus: int
) -> Challenge:
    """Compares an exported network with the release that a target runs: error on tune, latency in turns on this node.

    Args:
        target: whose IRs are compared.
        current: the release that the target runs; `manifest_sha256` is its manifest's, as the pointer says.
        network_id: of the new network.
        export_key: of its ExportRecord.
    """
    node = this_node(cpus)
    export = get_record(node.store, export_key, ExportRecord)
    dataset_id = stored_network(node.store, network_id)[1]

    def compute() -> Challenge:
        names = [f"modnet-{target}.{ending}" for ending in ("xml", "bin")]
        new = _fetched_ir(node.store, {name: export.files[name] for name in names}, node.settings.cache_folder)
        data = node.data(dataset_id)
        pointer = Pointer(target=target, release_id=current, manifest_sha256=manifest_sha256)
        workload = node.workload(dataset_id).name
        with tempfile.TemporaryDirectory() as temporary:
            try:
                running = fetch_release(node.store, pointer, Path(temporary))
                if (other := read_manifest(node.store, current).workload) != workload:
                    return Challenge(target=target, release_id=current, workload=other, new_workload=workload)
                current_error = _tune_error(running, data)
                samples = interleaved_latencies({"current": running, "new": new}, cpus, CHALLENGE_ROUNDS)
            except (NotStoredError, ContractError, DigestMismatchError, ExportError, ConfigError) as error:
                return Challenge(target=target, release_id=current, problem=str(error))
        ratio = median_ratio_interval(samples["new"], samples["current"])
        return Challenge(
            target=target,
            release_id=current,
            current_error=current_error,
            new_error=_tune_error(new, data),
            latency_ratio=ratio.mean,
            low=ratio.low,
            high=ratio.high,
        )

    return once(node.store, key, Challenge, compute)


def _fetched_ir(store: ObjectStore, files: Mapping[str, StoredFile], cache: Path) -> Path:
    """A local `.xml`, its `.bin` beside it. Both name their folder: networks of one architecture share the `.xml`."""
    folder = cache / "exports" / identify(**{name: file.sha256 for name, file in files.items()})
    for name, file in files.items():
        fetch_to(store, file, folder / name)
    return next(folder / name for name in files if name.endswith(".xml"))


def _tune_error(xml: Path, data: LabelledData) -> float:
    """The error of an IR on tune, at the size that it reads."""
    graph = OpenvinoGraph(xml)
    return data.scores(graph, "tune", graph.shape).error
