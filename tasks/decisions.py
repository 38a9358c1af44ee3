"""What became of a target, kept for those who ask later: a Decision each time."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from infra.device.documents.pointer import Pointer
from infra.device.stores.object_store import ObjectStore
from infra.publishing.rollouts import percent
from modnet.records import Contender, Decision
from modnet.records.nights import decision_key
from tasks.stored import put_record, recall

Kind = Literal["first", "promoted", "kept", "stopped", "rolled back", "pinned"]
A_PERSON = "a person"


def record_decision(
    store: ObjectStore,
    kind: Kind,
    target: str,
    *,
    before: str | None,
    after: str,
    words: str,
    by: str,
    contenders: Sequence[Contender] = (),
) -> Decision:
    """Writes what became of a target, once it has become so.

    Args:
        store: of the releases.
        kind: of the decision.
        target: its name.
        before: release_id that it ran; None: none, or nobody can say.
        after: release_id that it runs now.
        words: one sentence that says why, with the numbers.
        by: the flow, or A_PERSON.
        contenders: what was measured.
    """
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    decision = Decision(
        target=target, at=at, by=by, kind=kind, before=before, after=after, words=words, contenders=tuple(contenders)
    )
    put_record(store, decision_key(target, at), decision)
    return decision


def last_decision(store: ObjectStore, target: str) -> Decision | None:
    """What became of a target last; None where nothing has, or it cannot be read."""
    keys = store.list(f"decisions/{target}/")  # their names sort by time
    return recall(store, keys[-1], Decision) if keys else None


def record_promotion(store: ObjectStore, pointer: Pointer) -> Decision:
    """Writes that somebody had a target run a release, on all devices or on a share of them."""
    who = pointer.target if pointer.share == 1 else f"{percent(pointer.share)} of {pointer.target}"
    return record_decision(
        *(store, "first" if pointer.replaces is None else "promoted", pointer.target),
        before=pointer.replaces,
        after=pointer.release_id,
        words=f"{who} runs release {pointer.release_id}, as was asked, without a comparison",
        by=A_PERSON,
    )


def record_roll_back(store: ObjectStore, target: str, current: str, before: str) -> Decision:
    """Writes that somebody had a target run the release before again."""
    words = f"{target} runs release {before} again, instead of {current}, as was asked"
    return record_decision(store, "rolled back", target, before=current, after=before, words=words, by=A_PERSON)
