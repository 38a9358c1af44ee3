"""What a finished run shows: Prefect artifacts, and the page in the store that they link to."""

import hashlib

from prefect import task

from infra.device.documents.latency_report import LatencyReport
from infra.device.documents.manifest import Manifest, manifest_key, manifest_path
from modnet.records import (
    Candidate,
    Choice,
    DatasetRecord,
    ExportRecord,
    Failure,
    HostLatencies,
    NetworkScores,
    ReleaseRecord,
    Sheet,
    StoredCheck,
)
from modnet.report import run_tables
from modnet.report.data_tables import finding_rows
from modnet.report.pictures import pareto_plot
from modnet.workloads import workload_named
from tasks.artifacts import create_image_artifact, create_link_artifact, create_markdown_artifact, create_table_artifact
from tasks.configs.compress import CompressConfig
from tasks.nights import link_night
from tasks.on_ray import recalled_or_computed
from tasks.remote.scores import draw_sheet
from tasks.retries import RETRIES, is_transient
from tasks.signed import this_trust
from tasks.stored import get_record, identify, this_store
from tasks.stored_network import export_key, shaped, sheet_key
from tasks.tables import device_rows, html_page
from tasks.timeline import this_timeline


@task(retry_condition_fn=is_transient, **RETRIES)
def publish_report(
    dataset: DatasetRecord,
    check: StoredCheck,
    base: NetworkScores,
    scores: list[NetworkScores],
    candidates: list[Candidate],
    latencies: HostLatencies,
    choice: Choice,
    failures: list[Failure],
    release: ReleaseRecord,
    reports: list[LatencyReport],
    config: CompressConfig,
    night_id: str,
) -> str:
    """Leaderboard, plot, sheet of pictures, page of the data and page of the run; returns the latter's address."""
    store = this_store()
    labels = {candidate.candidate_id: candidate.label for candidate in candidates}
    workload = workload_named(dataset.workload)
    run = run_tables.Outcome(base, scores, labels, latencies, choice, workload.errors)
    networks = run_tables.network_rows(run, failures)
    exported_at = export_key(store, choice.winner, shaped(store, choice.winner, config.export))
    export = get_record(store, exported_at, ExportRecord)
    targets = run_tables.target_rows(export, workload.errors, release.promotions)
    devices = device_rows(reports)
    note = f"{run_tables.data_note(dataset)} The data were looked at before: {check.check.summary}."
    gained = run_tables.what_was_gained(run, export)
    pareto = pareto_plot(
        run_tables.pareto_points(run),
        "Accuracy against latency",
        form=latencies.deciding_form,
        bound=config.winner_limits.max_error_ratio,
        error=workload.title,
    )

    folder = f"runs/{identify(networks=networks, targets=targets, devices=devices)}"
    drawn = {one.network_id: shaped(store, one.network_id, config.export).shapes for one in (base, run.winner)}
    key = sheet_key(store, drawn)
    sheet = recalled_or_computed(
        *(key, Sheet, draw_sheet, drawn, ("unpruned", "pruned"), key),
        cpus=config.compute.base_cpus,
        compute=config.compute,
        name="draw sheet",
    )
    pictures: dict[str, bytes | str] = {
        "Accuracy against latency": pareto,
        "Sample images": store.get(sheet.picture.key),
    }
    tables = {"Networks": networks, "Targets of the winner": targets, "Devices": devices}
    if warnings := finding_rows(check.check):
        tables["Warnings of the data"] = warnings
    timeline = this_timeline()
    tables["Timeline (UTC)"] = timeline.rows()
    if (computations := timeline.picture()) is not None:
        pictures["Where the time went (UTC)"] = computations
    page = html_page(
        f"Compression run, {workload.name}", gained, f"{note} {run_tables.target_note(export)}", tables, pictures
    )
    store.put(f"{folder}/pareto.png", pareto)
    store.put(f"{folder}/data.html", store.get(check.page.key))
    store.put(f"{folder}/report.html", page)  # last, as it says that the others are there

    link_night(store, night_id, f"{folder}/report.html")
    address = store.link(f"{folder}/report.html")
    create_markdown_artifact(gained, key="gained", description="The winner against the unpruned network.")
    create_table_artifact(networks, key="leaderboard", description=note)
    create_table_artifact(targets, key="targets", description=run_tables.target_note(export))
    create_table_artifact(devices, key="devices", description="Latency as devices report it.")
    create_image_artifact(store.link(f"{folder}/pareto.png"), key="pareto", description="Accuracy against latency.")
    create_image_artifact(
        store.link(sheet.picture.key), key="sheet", description="Images, what is true, unpruned, pruned."
    )
    signed = this_trust().read(manifest_path(release.release_id), max_bytes=Manifest.max_bytes)
    manifest = manifest_key(release.release_id, hashlib.sha256(signed).hexdigest())
    create_link_artifact(store.link(manifest), key="release", link_text=release.release_id, description=manifest)
    create_link_artifact(address, key="report", link_text="Report of this run", description=f"{folder}/report.html")
    return address
