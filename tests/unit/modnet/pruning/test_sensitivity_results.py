"""Merging, averaging and reading off, on cases worked out by hand."""

import pytest

from modnet.errors import PruningError
from modnet.pruning.sensitivity_results import merge_sensitivities, relative_loss, sensitivity_curves
from modnet.records import ImageSensitivity, Sensitivities, SensitivityQuestion

QUESTION = SensitivityQuestion(
    network_sha256="0" * 64,
    data_sha256="1" * 64,
    images=("ann", "bob"),
    short_side=256,
    ranking="l1, sum",
    metric="error",
)


def measured(group: str, image: str, baseline: float, errors: dict) -> ImageSensitivity:
    return ImageSensitivity(group=group, image=image, baseline=baseline, errors=errors)


def sensitivities(*measurements: ImageSensitivity, **question: object) -> Sensitivities:
    return Sensitivities(question=QUESTION.model_copy(update=question), measurements=measurements)


ANN = measured("stem", "ann", 0.1, {0.5: 0.2})
BOB = measured("stem", "bob", 0.3, {0.5: 0.4})


def test_curves_are_means_over_images_and_relative_to_the_baseline() -> None:
    (curve,) = sensitivity_curves(sensitivities(ANN, BOB))
    assert curve.baseline == pytest.approx(0.2)
    assert curve.errors == {0.5: pytest.approx(0.3)}
    assert curve.losses == {0.5: pytest.approx(0.5)}


def test_curves_turn_the_sign_when_higher_is_better() -> None:
    (curve,) = sensitivity_curves(sensitivities(ANN, BOB, higher_is_better=True))
    assert curve.losses == {0.5: pytest.approx(-0.5)}


@pytest.mark.parametrize(
    ("baseline", "value", "higher_is_better", "loss"),
    [(2, 3, False, 0.5), (2, 1, False, -0.5), (2, 1, True, 0.5), (-2, -3, True, 0.5), (-2, -1, False, 0.5)],
    ids=["worse error", "better error", "worse score", "worse negative score", "worse negative error"],
)
def test_relative_loss_is_positive_when_worse(
    baseline: float, value: float, higher_is_better: bool, loss: float
) -> None:
    assert relative_loss(baseline, value, higher_is_better) == loss


@pytest.mark.parametrize(
    ("measurements", "message"),
    [
        ((ANN,), r"1 of 2 images were not measured \(bob\)"),
        ((ANN, measured("stem", "bob", 0.3, {0.4: 0.4})), "image bob was measured at ratios"),
        ((measured("stem", "ann", 0, {0.5: 1}), measured("stem", "bob", 0, {0.5: 1})), "the baseline is 0"),
    ],
    ids=["image missing", "ratio missing", "perfect baseline"],
)
def test_curves_raises_when_they_cannot_be_drawn(measurements: tuple, message: str) -> None:
    with pytest.raises(PruningError, match=message):
        sensitivity_curves(sensitivities(*measurements))


def test_merge_joins_groups_images_and_ratios_of_several_workers() -> None:
    merged = merge_sensitivities(
        [
            sensitivities(ANN),
            sensitivities(BOB, measured("last", "ann", 0.1, {0.5: 0.1})),
            sensitivities(measured("stem", "ann", 0.1, {0.5: 0.20001, 0.9: 2})),
        ]
    )
    assert merged.measurements == (
        measured("stem", "ann", 0.1, {0.5: 0.2, 0.9: 2}),
        BOB,
        measured("last", "ann", 0.1, {0.5: 0.1}),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"short_side": 512}, "short_side: 256 and 512$"),
        (
            {"network_sha256": "2" * 64, "ranking": "l2, sum"},
            "network_sha256: 0000.* and 2222.*; ranking: l1, sum and l2",
        ),
        ({"higher_is_better": True}, "higher_is_better: False and True"),
    ],
    ids=["images", "network and criterion", "sign"],
)
def test_merge_raises_and_names_the_difference_when_questions_differ(change: dict, message: str) -> None:
    with pytest.raises(PruningError, match=message):
        merge_sensitivities([sensitivities(ANN), sensitivities(BOB, **change)])


def test_merge_raises_when_workers_disagree() -> None:
    other = measured("stem", "ann", 0.1, {0.5: 0.21})
    with pytest.raises(PruningError, match=r"'stem' at 0.5 on image ann was measured twice, as 0.2 and 0.21"):
        merge_sensitivities([sensitivities(ANN), sensitivities(other)])


def test_merge_raises_when_there_is_nothing() -> None:
    with pytest.raises(PruningError, match="nothing to merge"):
        merge_sensitivities([])
