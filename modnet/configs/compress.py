"""What a person chooses of one nightly run, and the two profiles that choose the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from modnet.config import Config
from modnet.configs.augmentation import AugmentationConfig
from modnet.configs.baseline import SHIPPED, SHIPPED_PRUNED, TRAIN, UNPRUNED, BaselineConfig
from modnet.configs.benchmark import BenchmarkConfig
from modnet.configs.compute import ComputeConfig
from modnet.configs.dataset import DatasetConfig
from modnet.configs.evaluation import WinnerLimits
from modnet.configs.export import ExportConfig
from modnet.configs.form import may_be_empty
from modnet.configs.pruning import PruningConfig
from modnet.configs.training import DistillationConfig, RetrainConfig, Seed, TrainingConfig

Profile = Literal["demo", "standard"]

FROM_UNPRUNED = (
    PruningConfig.towards(max_macs=10_000_000_000),
    PruningConfig.towards(max_macs=6_500_000_000),
    PruningConfig.towards(max_macs=3_700_000_000, max_parameters=1_340_000),
)
"""Candidates of a run that prunes the unpruned network."""

FROM_SMALL = tuple(
    one.model_copy(update={"batch_only": ()})  # which the small network has lost already
    for one in (
        PruningConfig.towards(max_macs=3_700_000_000, max_parameters=1_340_000),
        PruningConfig.towards(max_macs=3_300_000_000),
        PruningConfig.towards(max_macs=2_900_000_000),
    )
)
"""Candidates of a run that starts from a small network: as it is, and pruned further."""

DEMO_LOOKS = {"taylor_images": 8, "taylor_steps": 2}
_BY_PROFILE: Any = None  # a validator puts the profile's value in its place


def _in_words_too(schema: dict[str, Any]) -> None:
    """Candidates may be said in words, or left to the profile."""
    may_be_empty(schema)
    schema["anyOf"].insert(1, {"type": "string", "title": "in words", "default": "8G:taylor,5G:taylor"})


class CompressConfig(Config):
    """Everything about one nightly run. What is left empty is chosen by the profile."""

    profile: Profile = Field(
        "standard",
        title="Profile",
        description="demo: minutes on two cores and some dozen images, too short to judge an idea. standard: a night.",
    )
    dataset: DatasetConfig = Field(DatasetConfig(), title="Data set")
    base: BaselineConfig = Field(BaselineConfig(), title="Unpruned network")
    pruning: tuple[PruningConfig, ...] = Field(
        _BY_PROFILE,
        min_length=1,
        title="Candidates",
        description="What is pruned and retrained. In words: the most that may be left, as 3.7G (MACs), 1.34M "
        "(parameters) or 3.7G+1.34M, or backbone threshold and ratio, as 0.5/0.5. Behind it may stand height x width "
        "of the input, as @480x320, and the criterion, as :taylor. Joined by commas.",
        json_schema_extra=_in_words_too,
    )
    winner_limits: WinnerLimits = Field(WinnerLimits(), title="What the winner may cost")
    epochs: int | None = Field(
        None,
        ge=1,
        le=1000,
        title="Epochs of retraining",
        description="Epochs for each candidate. Empty: the profile's.",
    )
    start: str = Field(
        _BY_PROFILE,
        title="Start of the candidates",
        description="What is pruned. unpruned: the unpruned network. shipped-pruned: the small network that the "
        "project brings along. Or the path, on the worker's machine, of another small network. Candidates always learn "
        "from the unpruned network and are compared with it. Empty: shipped-pruned in a demo whose network and "
        "candidates are the usual ones, else unpruned.",
        json_schema_extra=may_be_empty,
    )
    seed: Seed = 0
    retrain: RetrainConfig = Field(_BY_PROFILE, title="How candidates are retrained", json_schema_extra=may_be_empty)
    export: ExportConfig = Field(_BY_PROFILE, title="What is released", json_schema_extra=may_be_empty)
    benchmark: BenchmarkConfig = Field(_BY_PROFILE, title="Waiting for devices", json_schema_extra=may_be_empty)
    compute: ComputeConfig = Field(_BY_PROFILE, title="Machines", json_schema_extra=may_be_empty)
    min_survivors: int = Field(1, ge=1, description="The run fails with fewer retrained candidates than this.")

    @model_validator(mode="before")
    @classmethod
    def _filled_in(cls, given: Any) -> Any:
        """Puts the profile's choices where nothing was chosen."""
        if not isinstance(given, Mapping) or given.get("profile", "standard") not in ("demo", "standard"):
            return given
        filled = {name: value for name, value in given.items() if value not in (None, "")}
        is_demo = filled.get("profile") == "demo"
        base = filled.setdefault("base", {})
        if not isinstance(base, Mapping | BaselineConfig):
            return given
        checkpoint = base.checkpoint if isinstance(base, BaselineConfig) else base.get("checkpoint", SHIPPED)
        is_trained = checkpoint in (None, "", TRAIN)
        is_usual = is_demo and checkpoint == SHIPPED and "pruning" not in filled
        start = filled.setdefault("start", SHIPPED_PRUNED if is_usual else UNPRUNED)
        candidates = filled.get("pruning", FROM_UNPRUNED if start == UNPRUNED else FROM_SMALL)
        if isinstance(candidates, str):
            candidates = tuple(PruningConfig.from_word(word) for word in candidates.split(","))
        if not isinstance(given.get("pruning"), list | tuple):  # how long Taylor looks is the profile's affair
            candidates = tuple(one.model_copy(update=DEMO_LOOKS if is_demo else {}) for one in candidates)
        filled["pruning"] = candidates
        if isinstance(base, Mapping) and base.get("training") is None:
            filled["base"] = {**base, "training": _base_training(is_demo)}
        retrain = filled.setdefault("retrain", _retraining(is_demo, is_trained, start))
        if "epochs" in filled:
            filled["retrain"] = {**dict(retrain), "epochs": filled["epochs"]}
        filled.setdefault(
            "export", ExportConfig(calibration_images=8, max_output_difference=0.02) if is_demo else ExportConfig()
        )
        filled.setdefault("benchmark", BenchmarkConfig(wait_s=120, min_reports=1) if is_demo else BenchmarkConfig())
        filled.setdefault("compute", ComputeConfig())
        return filled


def _base_training(is_demo: bool) -> TrainingConfig:
    if is_demo:
        return TrainingConfig(epochs=10, image_size=160, learning_rate=2e-3)
    return TrainingConfig(epochs=40, image_size=448)


def _retraining(is_demo: bool, is_trained: bool, start: Any) -> RetrainConfig:
    if not is_demo:
        return RetrainConfig(
            epochs=20,
            image_size=448,
            learning_rate=7e-4,
            average_decay=0.995,
            freeze_backbone=True,
            augmentation=AugmentationConfig(largest_crop=1.5),
            distillation=DistillationConfig(),
        )
    if is_trained:  # a base that was trained for minutes is no teacher, and its backbone not worth keeping
        return RetrainConfig(epochs=3, image_size=160)
    # A small network that was retrained for long forgets more at 1e-3 than some dozen images teach it.
    learning_rate = 1e-3 if start == UNPRUNED else 2e-4
    return RetrainConfig(epochs=5, learning_rate=learning_rate, freeze_backbone=True, distillation=DistillationConfig())
