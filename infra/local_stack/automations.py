"""What Prefect does by itself when something happens: soon after a report came, it collects it, and decides by it."""

from __future__ import annotations

from typing import Any

from infra.ingest.events import REPORT_STORED, release_resource
from infra.local_stack.prefect_api import PrefectApi

COLLECT = ("collect", "stage")
"""Flow and deployment that collect reports."""
DECIDE = ("decide", "stage")
"""Those that decide what becomes of releases on trial."""
COLLECTED_AFTER_S = 20.0
_NEVER = "modnet.nothing"


def automate(api: PrefectApi) -> None:
    """Has reports collected and trials decided soon after reports come, where the project has flows for it."""
    for deployment, automation in ((COLLECT, collect_after_reports), (DECIDE, decide_after_reports)):
        deployment_id = api.deployment_id(*deployment)
        if deployment_id is not None:
            api.keep_automation(automation(deployment_id))


def collect_after_reports(deployment_id: str) -> dict[str, Any]:
    """An automation that has reports collected, see `_after_reports`."""
    return _after_reports("collect reports", COLLECT, deployment_id)


def decide_after_reports(deployment_id: str) -> dict[str, Any]:
    """An automation that has trials decided, see `_after_reports`."""
    return _after_reports("decide trials", DECIDE, deployment_id)


def _after_reports(name: str, deployment: tuple[str, str], deployment_id: str) -> dict[str, Any]:
    """An automation that runs a deployment COLLECTED_AFTER_S after a report was stored, once for all that come then.

    Prefect's reactive trigger runs at the first event of a time span, and lets the others go by: a run might just have
    looked when the last one comes. So this one is proactive. A report starts a time span in which an event is awaited
    that never comes, and at its end the deployment runs. Reports within the span start no other one. One that comes
    later does.
    """
    return {
        "name": name,
        "description": f"Runs {'/'.join(deployment)} {COLLECTED_AFTER_S:g} s after a report was stored.",
        "trigger": {
            "type": "event",
            "posture": "Proactive",
            "match": {"prefect.resource.id": release_resource("*")},
            "after": [REPORT_STORED],
            "expect": [_NEVER],
            # A label that no event has, so there is one span for all. Without any, Prefect would always hold one open.
            "for_each": [_NEVER],
            "threshold": 1,
            "within": COLLECTED_AFTER_S,
        },
        "actions": [{"type": "run-deployment", "source": "selected", "deployment_id": deployment_id}],
    }
