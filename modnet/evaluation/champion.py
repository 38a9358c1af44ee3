"""Which release a target runs: the champion, or one of those that were measured beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

from modnet.records import Contender


@dataclass(frozen=True)
class Standing:
    """A contender, and what it is judged by beside its record.

    Attributes:
        champion_error: of the champion's IR on the same images; None where that is not known.
        where: on what the latency was measured, as `on 2 devices`.
        objection: why it does not take part; None where nothing speaks against it.
    """

    contender: Contender
    champion_error: float | None = None
    where: str = ""
    objection: str | None = None


@dataclass(frozen=True)
class Verdict:
    """Who takes a target, None: the champion stays; and why, in one sentence."""

    winner: Contender | None
    words: str


def choose(target: str, champion: str, standings: Sequence[Standing], margin: float) -> Verdict:
    """Decides by error and latency, each by the interval of its difference from the champion's.

    A contender is allowed when its error is surely at most `margin` worse, and it is surely faster, or surely better
    and not surely slower. Of several the fastest takes the target. Those whose intervals overlap with the fastest one's
    count as equal, and of these the one with the lowest error does.

    Args:
        target: its name.
        champion: the release_id that it runs.
        standings: of all that were measured.
        margin: share of the champion's error.
    """
    objections = [objection_to(one, champion, margin) for one in standings]
    judged = list(zip(standings, objections, strict=True))
    allowed = [one for one, objection in judged if objection is None]
    if not allowed:
        told = "; ".join(f"{one.contender.release_id}: {objection}" for one, objection in judged)
        return Verdict(None, f"release {champion} stays: {told}")
    fastest = min(allowed, key=_latency)
    equal = [one for one in allowed if (one.contender.latency_low or 0) <= (fastest.contender.latency_high or 0)]
    best = min(equal, key=lambda one: (one.contender.error or 0, _latency(one)))
    beaten = [one.contender.release_id for one in allowed if one is not best]
    others = f"; before {', '.join(beaten)}, allowed as well" if beaten else ""
    words = f"release {best.contender.release_id} takes {target}: {latency_words(best, champion)}, {error_words(best)}"
    return Verdict(best.contender, words + others)


def objection_to(standing: Standing, champion: str, margin: float) -> str | None:
    """Why a contender does not take the champion's place, with the numbers; None: it may."""
    one, champion_error = standing.contender, standing.champion_error
    if standing.objection is not None:
        return standing.objection
    if one.error is None or one.difference_high is None or one.difference_low is None or champion_error is None:
        return "nobody knows how much it errs"
    if one.latency_ratio is None or one.latency_low is None or one.latency_high is None:
        return "nobody knows how fast it is"
    if one.difference_high > margin * champion_error:
        return f"it may err more: {error_words(standing)}, at most {100 * margin:g} % is allowed"
    if one.latency_low > 1:
        return f"it is slower: {latency_words(standing, champion)}"
    if one.latency_high >= 1 and one.difference_high >= 0:
        return f"neither surely faster nor surely better: {latency_words(standing, champion)}, {error_words(standing)}"
    return None


def latency_words(standing: Standing, champion: str) -> str:
    """`0.81 times the latency of c3d4 on 2 devices (0.79 to 0.83)`."""
    one = standing.contender
    return (
        f"{one.latency_ratio:.2f} times the latency of {champion} {standing.where} "
        f"({one.latency_low:.2f} to {one.latency_high:.2f})"
    )


def error_words(standing: Standing) -> str:
    """`tune error -3.1 % (-5.0 to -0.9 %)`, of the champion's; in numbers where that one does not err at all."""
    one, champion_error = standing.contender, standing.champion_error
    assert one.error is not None
    assert one.difference_low is not None
    assert one.difference_high is not None
    assert champion_error is not None
    if champion_error == 0:
        return f"tune error {one.error:.6f} against 0 ({one.difference_low:+.6f} to {one.difference_high:+.6f})"
    mean, low, high = (
        100 * difference / champion_error
        for difference in (one.error - champion_error, one.difference_low, one.difference_high)
    )
    return f"tune error {mean:+.1f} % ({low:+.1f} to {high:+.1f} %)"


def _latency(standing: Standing) -> float:
    return standing.contender.latency_ratio or 0.0
