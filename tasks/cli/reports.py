"""`modnet device reports`: what devices have measured, as the flow `collect` has last collected it."""

from __future__ import annotations

from dataclasses import asdict

from infra.device.shown import shown
from infra.device.stores.object_store import open_store
from infra.fleet.rows import Collected, collected
from infra.settings import Settings
from tasks.cli.flags import Options, Result
from tasks.tables import markdown_table


def list_reports(options: Options) -> Result:
    """Shows the newest reports of a device, a target or a release, or of all, the newest first."""
    wanted = {"device": options.device, "target": options.target, "release_id": options.release}
    found = [
        row
        for row in collected(open_store(Settings.from_env().store_url))
        if all(value in (None, getattr(row, name)) for name, value in wanted.items())
    ]
    rows = sorted(found, key=lambda row: row.started_at, reverse=True)[: options.last]
    if options.json:
        return {"reports": [asdict(row) for row in rows]}
    return {"reports": f"{len(rows)} of {len(found)}", "table": markdown_table([_shown(row) for row in rows])}


def _shown(row: Collected) -> dict[str, str]:
    latency = "" if row.p50_ms is None else f"{row.p50_ms:.1f}"
    if row.p50_low is not None:
        latency += f" ({row.p50_low:.1f} to {row.p50_high:.1f})"
    against = row.comparison
    said = [row.status, *([row.reason] if row.reason else []), *row.doubts]
    return {
        "device": row.device,
        "target": row.target,
        "release": row.release_id,
        "runtime": shown(row.runtime),
        "p50 ms": latency,
        "against the release before": ""
        if against is None
        else f"{against.ratio:.3f} ({against.ratio_low:.3f} to {against.ratio_high:.3f})",
        "says": shown("; ".join(said)),
        "when": row.started_at,
    }
