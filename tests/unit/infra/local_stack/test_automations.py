from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from prefect.server.events.schemas.automations import AutomationCreate

from infra.device.errors import SettingsError
from infra.local_stack.automations import WEBHOOK, automate, tell, webhook_of

SECRET = "https://hooks.example.org/T0/the-secret"


class Api:
    """What a Prefect server is asked for."""

    def __init__(self) -> None:
        self.automations: dict[str, dict[str, Any]] = {}
        self.webhooks: dict[str, str] = {}

    def deployment_id(self, *_: str) -> None:
        return None

    def keep_automation(self, automation: dict[str, Any]) -> None:
        self.automations[automation["name"]] = automation

    def remove_automation(self, name: str) -> None:
        self.automations.pop(name, None)

    def keep_webhook(self, name: str, address: str) -> str:
        self.webhooks[name] = address
        return "7"

    def remove_webhook(self, name: str) -> None:
        self.webhooks.pop(name, None)


def test_without_an_address_nothing_is_made_and_with_an_empty_one_all_of_it_goes() -> None:
    api = Api()
    automate(api, webhook_of({}))
    assert (api.automations, api.webhooks) == ({}, {})
    automate(api, webhook_of({WEBHOOK: SECRET}))
    assert len(api.automations) == 4
    assert list(api.webhooks.values()) == [SECRET]
    assert "the-secret" not in str(api.automations)
    automate(api, webhook_of({}))
    assert len(api.automations) == 4
    automate(api, webhook_of({WEBHOOK: ""}))
    assert (api.automations, api.webhooks) == ({}, {})


@pytest.mark.parametrize(
    "value",
    ["the-secret", "ftp://the-secret", "http://", "https://[the-secret", "https://a b/the-secret", "https://a\n"],
)
def test_what_is_no_address_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(SettingsError, match="MODNET_WEBHOOK_URL: got something else, wanted an address") as refused:
        webhook_of({WEBHOOK: value})
    assert "the-secret" not in str(refused.value)


def test_automations_are_what_prefect_takes() -> None:
    found = tell(str(uuid4()))
    for automation in found:
        AutomationCreate.model_validate(automation)
    assert len({automation["name"] for automation in found}) == 4
