"""Which network a run starts from, as a person says it, and what of it is kept."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from modnet.configs import BenchmarkConfig, ExportConfig, PruningConfig, ReleaseConfig, RetrainConfig
from modnet.shipped import SHIPPED
from tasks.configs.baseline import BaselineConfig
from tasks.configs.compress import CompressConfig


@pytest.mark.parametrize("config", [CompressConfig(), CompressConfig(profile="demo")])
def test_a_run_starts_from_the_shipped_base_by_default(config: CompressConfig) -> None:
    assert config.base.checkpoint == SHIPPED
    assert CompressConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("given", [None, "", "train"])
def test_a_base_is_trained_when_asked_for(given: str | None) -> None:
    config = BaselineConfig.model_validate({"checkpoint": given})
    assert config.checkpoint is None
    assert BaselineConfig.model_validate_json(config.model_dump_json()) == config


def test_a_backbone_that_no_training_would_read_is_refused() -> None:
    with pytest.raises(ValidationError, match="checkpoint 'shipped' is taken as it is"):
        BaselineConfig(backbone="mobilenet.npz")
    assert BaselineConfig(checkpoint=None, backbone="mobilenet.npz").backbone == "mobilenet.npz"


def test_a_backbone_of_random_weights_is_not_kept() -> None:
    with pytest.raises(ValidationError, match="freeze_backbone would keep random weights from scratch"):
        RetrainConfig(initialise="scratch", freeze_backbone=True)
    assert RetrainConfig(initialise="scratch").initialise == "scratch"


def test_what_is_left_empty_is_chosen_by_the_profile() -> None:
    empty = {"profile": "demo", "pruning": None, "start": "", "retrain": None, "epochs": None, "base": {}}
    assert CompressConfig.model_validate(empty) == CompressConfig(profile="demo")
    assert CompressConfig.model_validate({"profile": "standard"}) == CompressConfig()
    config = CompressConfig.model_validate({"profile": "demo", "epochs": 7, "pruning": "8G:taylor, 0.5/0.5"})
    unpruned = CompressConfig.model_validate({"profile": "demo", "start": "unpruned"})
    assert config.retrain == unpruned.retrain.model_copy(update={"epochs": 7})
    assert CompressConfig(profile="demo").retrain.learning_rate < unpruned.retrain.learning_rate
    assert [one.label for one in config.pruning] == ["8 GMAC taylor", "0.5/0.5"]
    assert config.pruning[0].taylor_images == 8
    assert CompressConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"profile": "quick"}, "profile"),
        ({"pruning": "8G:luck"}, "criterion"),
        ({"pruning": "8T"}, "'8T' is no way to prune"),
        ({"pruning": []}, "pruning"),
        ({"base": ["shipped"]}, "base"),
        ({"retrain": {"epoch": 3}}, "epoch"),
        ({"epochs": 0}, "epochs"),
        ({"start": 3}, "start"),
        ({"dataset": "ppm-100"}, "dataset"),
        ({"dataset": {"workload": "poetry"}}, "workload: got 'poetry', there is classification, matting"),
    ],
    ids=str,
)
def test_a_run_form_with_something_wrong_is_refused_with_its_name(given: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        CompressConfig.model_validate(given)


def test_of_a_part_of_the_targets_no_more_reports_are_wanted_than_there_are_targets() -> None:
    config = BenchmarkConfig(min_reports=2, awaited_targets=("cpu-fp32", "cpu-int8"))
    assert config.for_targets(("cpu-fp32", "cpu-int8", "ncs2-fp16")) == config
    assert config.for_targets(("cpu-int8", "ncs2-fp16")).min_reports == 1
    assert config.for_targets(("ncs2-fp16",)).min_reports == 0


@pytest.mark.parametrize("text", ["480", "480x", "480 x 320", "500x512", "0x32", "32x8192", "0480x320", "480x320x3"])
def test_an_input_shape_that_no_network_reads_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match=f"wanted height x width as 480x320.*got '{text}'"):
        ExportConfig(input_shape=text)


def test_an_input_shape_is_height_and_width() -> None:
    assert ExportConfig(input_shape="480x320").shape == (480, 320)


def test_a_candidate_in_a_word_may_say_the_shape_of_its_input() -> None:
    config = PruningConfig.from_word("3.7G+1.34M@480x320:taylor")
    assert (config.input_shape, config.criterion) == ("480x320", "taylor")
    assert config.label == "3.7 GMAC 1.34 M@480x320 taylor"
    assert PruningConfig.from_word("0.5/0.5@96x64").label.endswith("@96x64")
    with pytest.raises(ValidationError, match="wanted height x width as 480x320"):
        PruningConfig.from_word("3.7G@480")


def test_candidates_without_a_shape_have_that_of_the_run() -> None:
    given = {"export": {"input_shape": "480x320"}, "pruning": "3.7G@384x256:taylor,2.9G:taylor"}
    assert [one.input_shape for one in CompressConfig.model_validate(given).pruning] == ["384x256", "480x320"]
    as_forms_do = {**given, "pruning": [{"policy": {"kind": "uniform", "ratio": 0.5}, "input_shape": None}]}
    config = CompressConfig.model_validate(as_forms_do)
    assert config.pruning[0].input_shape == "480x320"
    assert CompressConfig.model_validate_json(config.model_dump_json()) == config
    assert CompressConfig().pruning[0].input_shape is None
    with pytest.raises(ValidationError):
        CompressConfig.model_validate({**given, "pruning": [3]})


@pytest.mark.parametrize(
    ("given", "licence"),
    [
        (None, None),
        ("apache-2.0", "Apache-2.0"),
        ("LicenseRef-Ours", "LicenseRef-Ours"),
        ("mit OR 0BSD", "MIT OR 0BSD"),
    ],
)
def test_a_licence_is_written_as_its_list_has_it(given: str | None, licence: str | None) -> None:
    assert ReleaseConfig(licence=given).licence == licence


@pytest.mark.parametrize("given", ["", "Apache2", "mine", "MIT OR", "Apache-2.0\nMIT", "é"])
def test_an_unknown_licence_is_refused_with_what_is_wanted(given: str) -> None:
    with pytest.raises(ValidationError) as refused:
        ReleaseConfig(licence=given)
    assert f"unknown licence: got {given!r}, wanted an identifier of https://spdx.org/licenses as Apache-2.0" in str(
        refused.value
    )


def test_a_licence_is_no_longer_than_a_manifest_takes() -> None:
    with pytest.raises(ValidationError, match="at most 200 characters"):
        ReleaseConfig(licence=" OR ".join(["MIT"] * 40))
