"""Which network a run starts from, as a person says it, and what of it is kept."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from modnet.configs import SHIPPED, BaselineConfig, CompressConfig, RetrainConfig


@pytest.mark.parametrize("config", [CompressConfig(), CompressConfig.standard(), CompressConfig.demo()])
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
