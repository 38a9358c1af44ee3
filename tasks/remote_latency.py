"""Latencies on Ray nodes: candidates beside each other, and a new network beside the one that a target runs.

As in `tasks.remote`, every function looks first whether its answer is in the store.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path

from infra.device.documents.pointer import Pointer
from infra.device.errors import ContractError, DigestMismatchError, NotStoredError
from infra.device.releases import fetch_release
from infra.device.stores.object_store import ObjectStore
from modnet.configs import ExportConfig
from modnet.errors import ConfigError, ExportError, LoweringError, ParityError
from modnet.evaluation.intervals import median_ratio_interval
from modnet.export.export import export_network
from modnet.records import Challenge, ExportRecord, HostLatencies, StoredFile, TimedForms
from modnet.targets import VARIANTS, Target
from modnet.workloads.matting.checkpoint import load
from modnet.workloads.matting.data.indexing import DatasetIndex
from modnet.workloads.matting.evaluate import evaluate
from modnet.workloads.matting.predict.openvino_predictors import IrPredictor
from tasks.host_latency import interleaved_latencies
from tasks.remote import this_node
from tasks.remote_export import PARITY_IMAGES, calibration_inputs
from tasks.stored import fetch, fetch_to, get_record, identify, once, upload
from tasks.stored_dataset import open_dataset
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
    settings, store = this_node(cpus)
    checkpoint, dataset_id = stored_network(store, network_id)

    def compute() -> TimedForms:
        network = load(fetch(store, checkpoint, settings.cache_folder / "objects"))
        inputs = calibration_inputs(config, *open_dataset(dataset_id, settings, store))
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "forms"
            try:
                report = export_network(
                    network,
                    folder,
                    size=config.size,
                    targets=timed_targets(config),
                    input_format=config.input_format,
                    max_difference=config.max_alpha_difference,
                    calibration=inputs,
                    parity_images=inputs[:PARITY_IMAGES],
                )
            except (LoweringError, ParityError) as error:
                return TimedForms(
                    network_id=network_id, files={}, refused=dict.fromkeys(timed_targets(config), str(error))
                )
            names = sorted(path.name for path in folder.iterdir() if path.suffix in (".xml", ".bin"))
            files = {name: upload(store, f"{key.rpartition('/')[0]}/{name}", folder / name) for name in names}
        return TimedForms(network_id=network_id, files=files, refused=report.refused)

    return once(store, key, TimedForms, compute)


def measure_on_host(forms: list[TimedForms], deciding_form: Target, key: str, threads: int) -> HostLatencies:
    """Latencies of every network's forms on this node, all of them in every round."""
    settings, store = this_node(threads)

    def compute() -> HostLatencies:
        irs = {}
        for one in forms:
            for target in written_targets(one):
                files = {name: one.files[name] for name in (f"modnet-{target}.xml", f"modnet-{target}.bin")}
                irs[f"{one.network_id} {target}"] = _fetched_ir(store, files, settings.cache_folder)
        samples = interleaved_latencies(irs, threads)
        return HostLatencies(
            host=socket.gethostname(),
            deciding_form=deciding_form,
            samples_ms={
                one.network_id: {target: samples[f"{one.network_id} {target}"] for target in written_targets(one)}
                for one in forms
            },
        )

    return once(store, key, HostLatencies, compute)


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
    settings, store = this_node(cpus)
    export = get_record(store, export_key, ExportRecord)
    dataset_id = stored_network(store, network_id)[1]

    def compute() -> Challenge:
        names = [f"modnet-{target}.{ending}" for ending in ("xml", "bin")]
        new = _fetched_ir(store, {name: export.files[name] for name in names}, settings.cache_folder)
        images, index = open_dataset(dataset_id, settings, store)
        pointer = Pointer(target=target, release_id=current, manifest_sha256=manifest_sha256)
        with tempfile.TemporaryDirectory() as temporary:
            try:
                running = fetch_release(store, pointer, Path(temporary))
                current_mse = _tune_mse(running, images, index)
                samples = interleaved_latencies({"current": running, "new": new}, cpus, CHALLENGE_ROUNDS)
            except (NotStoredError, ContractError, DigestMismatchError, ExportError, ConfigError) as error:
                return Challenge(target=target, release_id=current, problem=str(error))
        ratio = median_ratio_interval(samples["new"], samples["current"])
        return Challenge(
            target=target,
            release_id=current,
            current_mse=current_mse,
            new_mse=_tune_mse(new, images, index),
            latency_ratio=ratio.mean,
            low=ratio.low,
            high=ratio.high,
        )

    return once(store, key, Challenge, compute)


def _fetched_ir(store: ObjectStore, files: Mapping[str, StoredFile], cache: Path) -> Path:
    """A local `.xml`, its `.bin` beside it. Both name their folder: networks of one architecture share the `.xml`."""
    folder = cache / "exports" / identify(**{name: file.sha256 for name, file in files.items()})
    for name, file in files.items():
        fetch_to(store, file, folder / name)
    return next(folder / name for name in files if name.endswith(".xml"))


def _tune_mse(xml: Path, images: Path, index: DatasetIndex) -> float:
    """MSE of an IR on tune, in the letterbox of the size that it reads."""
    predictor = IrPredictor(xml)
    return evaluate(predictor, images, index, "tune", predictor.protocol).error
