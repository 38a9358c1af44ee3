"""Tells Prefect what people want to know without looking; automations pass it on (`infra.local_stack.automations`).

Nothing here ends or delays a run: what cannot be told is a warning in the log.
"""

from collections.abc import Iterable, Sequence

from prefect import get_run_logger
from prefect.events import emit_event

from infra.device.errors import ContractError, InfraError, NotStoredError
from infra.device.shown import shown
from infra.device.stores.object_store import ObjectStore
from infra.fleet.findings import Silent
from infra.local_stack.automations import DEVICES_SILENT, NEW_CHAMPION, NO_GAIN
from modnet.records import Decision, Night
from tasks.history_summary import nights_without_gain

NIGHTS_WITHOUT_GAIN = 3
"""After so many in a row people are told, and again after as many more."""
_TOLD = "fleet/told-silent.txt"  # which silences were told: a line each
_MAX_TOLD_BYTES = 1 << 20
_MAX_TEXT = 1000  # characters
_MAX_DEVICES = 10  # in a text


def tell_new_champion(decision: Decision) -> None:
    """Tells that a target runs another release; a decision that changed nothing is not told."""
    if decision.after != decision.before:
        before = "nothing" if decision.before is None else decision.before
        text = f"{decision.target} runs {decision.after}, before {before} ({decision.kind}): {decision.words}"
        _tell(NEW_CHAMPION, f"modnet.target.{decision.target}", text)


def tell_no_gain(nights: Sequence[Night], ended: str) -> None:
    """Tells that the last NIGHTS_WITHOUT_GAIN nights of a base made its front no better.

    Args:
        nights: all of them, oldest first.
        ended: night_id of the one that has just ended.
    """
    base_id = next((night.base_id for night in nights if night.night_id == ended), None)
    count = nights_without_gain(night for night in nights if night.base_id == base_id)
    if count and count % NIGHTS_WITHOUT_GAIN == 0:
        text = (
            f"{count} nights in a row found no better network for base {base_id}. The page of the history says what to "
            "try next."
        )
        _tell(NO_GAIN, f"modnet.base.{base_id}", text)


def tell_silent_devices(store: ObjectStore, silent: Iterable[Silent]) -> None:
    """Tells which devices of a target have fallen silent, each of them once for each release that it should report.

    Args:
        store: remembers what was told.
        silent: all that are silent now.
    """
    now = {f"{one.target or 'any'} {one.device} {one.release_id or '-'}": one for one in silent}
    try:
        told = _told(store)
        for target in sorted({line.split()[0] for line in now.keys() - told}):
            names = sorted(one.device for line, one in now.items() if line not in told and line.split()[0] == target)
            more = f" and {len(names) - _MAX_DEVICES} more" if len(names) > _MAX_DEVICES else ""
            of = "with a key, never heard of" if target == "any" else f"of {target}"
            count = f"{len(names)} device{'' if len(names) == 1 else 's'}"
            text = f"{count} {of}, silent: {', '.join(names[:_MAX_DEVICES])}{more}"
            _tell(DEVICES_SILENT, f"modnet.target.{target}", text)
        if now.keys() != told:
            store.put(_TOLD, "\n".join(sorted(now)).encode())
    except (InfraError, OSError) as error:
        get_run_logger().warning("silent devices cannot be told, the work goes on: %s", shown(error))


def _told(store: ObjectStore) -> set[str]:
    try:
        return set(store.get(_TOLD, max_bytes=_MAX_TOLD_BYTES).decode(errors="replace").splitlines())
    except (NotStoredError, ContractError):
        return set()


def _tell(event: str, about: str, text: str) -> None:
    try:
        emit_event(event, resource={"prefect.resource.id": about}, payload={"text": shown(text)[:_MAX_TEXT]})
    except Exception as error:  # Prefect's client fails in many ways, and what is told is done already
        get_run_logger().warning("%s cannot be told, the work goes on: %s", event, shown(error))
