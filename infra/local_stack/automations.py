"""What Prefect does by itself when something happens: it collects reports and decides by them, and tells people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from infra.device.errors import SettingsError
from infra.ingest.events import REPORT_STORED, release_resource
from infra.local_stack.prefect_api import PrefectApi

COLLECT = ("collect", "stage")
"""Flow and deployment that collect reports."""
DECIDE = ("decide", "stage")
"""Those that decide what becomes of releases on trial."""
COLLECTED_AFTER_S = 20.0
_NEVER = "modnet.nothing"

WEBHOOK = "MODNET_WEBHOOK_URL"
"""Variable of the address that is told what people want to know. Who knows the address may write to it: a secret."""
NO_GAIN, DEVICES_SILENT, NEW_CHAMPION = "modnet.night.no-gain", "modnet.devices.silent", "modnet.champion.new"
"""Events that flows emit; `text` of their payload is a sentence for people."""
_BLOCK = "modnet-webhook"  # where Prefect keeps the address, encrypted
_TOLD = {  # names of the automations
    "tell: no gain": NO_GAIN,
    "tell: devices silent": DEVICES_SILENT,
    "tell: new champion": NEW_CHAMPION,
}
_FAILED = "tell: night failed"


def automate(api: PrefectApi, webhook: str | None) -> None:
    """Has reports collected and trials decided soon after reports come, where the project has flows for it.

    And has people told.

    Args:
        api: of the server that does so.
        webhook: address to tell, from `webhook_of`. Empty: nobody is told any more. None: as an earlier start said.
    """
    for deployment, automation_of in ((COLLECT, collect_after_reports), (DECIDE, decide_after_reports)):
        deployment_id = api.deployment_id(*deployment)
        if deployment_id is not None:
            api.keep_automation(automation_of(deployment_id))
    if webhook:
        block_id = api.keep_webhook(_BLOCK, webhook)
        for automation in tell(block_id):
            api.keep_automation(automation)
    elif webhook is not None:
        for name in (_FAILED, *_TOLD):
            api.remove_automation(name)
        api.remove_webhook(_BLOCK)


def webhook_of(environ: Mapping[str, str]) -> str | None:
    """The address that MODNET_WEBHOOK_URL names; None where it is not set.

    Raises:
        SettingsError: it is no address; the message does not show it.
    """
    value = environ.get(WEBHOOK)
    if value:
        try:
            parts = urlsplit(value)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_address = False
        if not is_address or not value.isprintable() or " " in value:
            raise SettingsError(f"{WEBHOOK}: got something else, wanted an address as https://hooks.example.org/…")
    return value


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


def tell(block_id: str) -> list[dict[str, Any]]:
    """Automations that tell a webhook of failed nights, and of the events that flows emit for people.

    The server calls the webhook, so no run waits for it, and none sees its address.

    Args:
        block_id: of the webhook, as Prefect knows it.
    """
    failed = {
        "match": {"prefect.resource.id": "prefect.flow-run.*", "prefect.state-type": ["FAILED", "CRASHED"]},
        "match_related": {"prefect.resource.role": "flow", "prefect.resource.name": "compress"},
        "expect": ["prefect.flow-run.*"],
    }
    words = (
        "'night ' ~ event.resource['prefect.resource.name'] ~ ' ' ~ event.resource['prefect.state-name'] ~ ': ' ~ "
        "event.resource['prefect.state-message'][:500]"
    )
    found = [_telling(_FAILED, "A run of compress has failed or crashed.", failed, words, block_id)]
    for name, event in _TOLD.items():
        found.append(
            _telling(name, f"A flow has emitted {event}.", {"expect": [event]}, "event.payload['text']", block_id)
        )
    return found


def _telling(name: str, says: str, trigger: Mapping[str, Any], words: str, block_id: str) -> dict[str, Any]:
    """An automation that sends `{"text": …, "event": …, "at": …}`; `words` is Jinja's expression of the text."""
    payload = f'{{"text": {{{{ ({words}) | tojson }}}}, "event": {{{{ event.event | tojson }}}}, '
    payload += '"at": {{ event.occurred.isoformat() | tojson }}}'
    return {
        "name": name,
        "description": f"{says} It is told to the address of {WEBHOOK}.",
        "trigger": {"type": "event", "posture": "Reactive", "threshold": 1, "within": 0.0, **trigger},
        "actions": [{"type": "call-webhook", "block_document_id": block_id, "payload": payload}],
    }
