"""What Prefect does by itself when something happens: it collects reports soon after they come."""

from __future__ import annotations

from typing import Any

from infra.ingest.events import REPORT_STORED, release_resource
from infra.local_stack.prefect_api import PrefectApi

COLLECT = ("collect", "stage")
"""Flow and deployment that collect reports."""
COLLECTED_AFTER_S = 20.0
_NEVER = "modnet.nothing"


def automate(api: PrefectApi) -> None:
    """Has reports collected soon after they come, where the project has a flow for it."""
    deployment_id = api.deployment_id(*COLLECT)
    if deployment_id is not None:
        api.keep_automation(collect_after_reports(deployment_id))


def collect_after_reports(deployment_id: str) -> dict[str, Any]:
    """An automation that runs a deployment COLLECTED_AFTER_S after a report was stored, once for all that come then.

    Prefect's reactive trigger runs at the first event of a time span, and lets the others go by: a run might just have
    looked when the last one comes. So this one is proactive. A report starts a time span in which an event is awaited
    that never comes, and at its end the deployment runs. Reports within the span start no other one. One that comes
    later does.
    """
    return {
        "name": "collect reports",
        "description": f"Runs {'/'.join(COLLECT)} {COLLECTED_AFTER_S:g} s after a report was stored.",
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
