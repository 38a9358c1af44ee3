"""From measurements of many images and workers to one curve per group."""

import math
from collections.abc import Sequence
from statistics import fmean

from modnet.errors import PruningError
from modnet.records import ImageSensitivity, Sensitivities, SensitivityCurve, SensitivityQuestion

AGREEMENT = 1e-3  # two workers' figures for one image; between machines only rounding differs


def merge_sensitivities(parts: Sequence[Sensitivities]) -> Sensitivities:
    """All measurements of several workers, each point once: workers may share out groups, images and ratios.

    Raises:
        PruningError: nothing to merge, parts of different questions (the difference is named), or two that give the
            same point different errors.
    """
    if not parts:
        raise PruningError("sensitivities: nothing to merge")
    question = parts[0].question
    merged: dict[tuple[str, str], ImageSensitivity] = {}
    for part in parts:
        require_same_question(question, part.question, "the results to be merged")
        for found in part.measurements:
            before = merged.get((found.group, found.image))
            merged[found.group, found.image] = found if before is None else _joined(before, found)
    return Sensitivities(question=question, measurements=tuple(merged.values()))


def require_same_question(one: SensitivityQuestion, other: SensitivityQuestion, where: str) -> None:
    """Refuses sensitivities that were measured of something else.

    Raises:
        PruningError: names every field in which the questions differ, and both values.
    """
    pairs = {name: (getattr(one, name), getattr(other, name)) for name in SensitivityQuestion.model_fields}
    if found := [f"{name}: {_short(a)} and {_short(b)}" for name, (a, b) in pairs.items() if a != b]:
        raise PruningError(f"sensitivities: {where} answer different questions: {'; '.join(found)}")


def sensitivity_curves(sensitivities: Sensitivities) -> tuple[SensitivityCurve, ...]:
    """The mean over images for each group, in the order in which the groups were measured.

    Raises:
        PruningError: a group was not measured on every image at the same ratios, or the baseline is 0.
    """
    question = sensitivities.question
    groups: dict[str, list[ImageSensitivity]] = {}
    for found in sensitivities.measurements:
        groups.setdefault(found.group, []).append(found)
    return tuple(_curve(group, found, question) for group, found in groups.items())


def relative_loss(baseline: float, value: float, higher_is_better: bool) -> float:
    """How much worse `value` is than `baseline`, as a share of it; negative when it is better.

    >>> relative_loss(0.5, 0.75, higher_is_better=False), relative_loss(0.5, 0.25, higher_is_better=True)
    (0.5, 0.5)
    """
    sign = -1 if higher_is_better else 1
    return sign * (value - baseline) / abs(baseline)


def _curve(group: str, found: Sequence[ImageSensitivity], question: SensitivityQuestion) -> SensitivityCurve:
    missing = set(question.images) - {one.image for one in found}
    if missing:
        raise PruningError(
            f"sensitivity of group {group!r}: {len(missing)} of {len(question.images)} images were not measured "
            f"({', '.join(sorted(missing)[:5])}); go on with the analysis first"
        )
    ratios = sorted(found[0].errors)
    for one in found:
        if sorted(one.errors) != ratios:
            raise PruningError(
                f"sensitivity of group {group!r}: image {one.image} was measured at ratios {sorted(one.errors)}, "
                f"{found[0].image} at {ratios}; go on with the analysis first"
            )
    baseline = fmean(one.baseline for one in found)
    if baseline == 0:
        raise PruningError(f"sensitivity of group {group!r}: the baseline is 0, nothing is relative to it")
    errors = {ratio: fmean(one.errors[ratio] for one in found) for ratio in ratios}
    losses = {ratio: relative_loss(baseline, value, question.higher_is_better) for ratio, value in errors.items()}
    return SensitivityCurve(group=group, baseline=baseline, errors=errors, losses=losses)


def _joined(one: ImageSensitivity, other: ImageSensitivity) -> ImageSensitivity:
    for ratio in one.errors.keys() & other.errors.keys():
        if not math.isclose(one.errors[ratio], other.errors[ratio], rel_tol=AGREEMENT, abs_tol=1e-9):
            raise PruningError(
                f"sensitivities: group {one.group!r} at {ratio:g} on image {one.image} was measured twice, "
                f"as {one.errors[ratio]:.6g} and {other.errors[ratio]:.6g}"
            )
    return one.model_copy(update={"errors": {**other.errors, **one.errors}})


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
