"""Flow benchmark."""

from prefect import flow, get_run_logger

from infra.device.documents.latency_report import LatencyReport
from infra.device.shown import shown
from modnet.configs import BenchmarkConfig
from tasks.benchmark import collect_reports


@flow(name="benchmark")
def benchmark(release_id: str, config: BenchmarkConfig = BenchmarkConfig()) -> list[LatencyReport]:
    """Collects what edge agents measured of a release, waiting for them as long as the config says."""
    reports = collect_reports(release_id, config)
    for report in reports:
        result = report.reason if report.summary is None else f"p50 {report.summary.p50_ms:.1f} ms"
        get_run_logger().info("%s %s: %s", report.device, report.target, shown(result))
    measured = sum(report.summary is not None for report in reports)
    if measured < config.min_reports:
        failures = [f"{r.device} {r.target}: {r.reason}" for r in reports if r.reason is not None]
        raise RuntimeError(
            f"{measured} measured reports on release {release_id} within {config.wait_s:g} s, "
            f"wanted at least {config.min_reports}; failed: {failures or 'none'}"
        )
    return reports
