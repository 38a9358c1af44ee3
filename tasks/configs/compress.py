"""What a person chooses of one nightly run, and the two profiles that choose the rest."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from modnet.config import Config
from modnet.configs import (
    BenchmarkConfig,
    ComputeConfig,
    DatasetConfig,
    ExportConfig,
    PruningConfig,
    ReleaseConfig,
    Seed,
    TrainingConfig,
    WinnerLimits,
)
from modnet.configs.form import may_be_empty
from modnet.configs.search import SearchConfig, require_scored
from modnet.shipped import SHIPPED, SHIPPED_PRUNED
from modnet.workloads import USUAL_WORKLOAD, settings_named
from tasks.configs.baseline import TRAIN, UNPRUNED, BaselineConfig
from tasks.configs.sections import Retraining

Profile = Literal["demo", "standard"]

_DEMO_LOOKS = {"taylor_images": 8, "taylor_steps": 2}
_BY_PROFILE: Any = None  # a validator puts the profile's value in its place


def _in_words_too(schema: dict[str, Any]) -> None:
    """Candidates may be said in words, or left to the profile."""
    may_be_empty(schema)
    schema["anyOf"].insert(1, {"type": "string", "title": "in words", "default": "8G:taylor,5G:taylor"})


def _of_kind(kind: type[TrainingConfig], given: Any) -> Any:
    """Settings of a training by the class of the run's workload: other workloads have fields of the same names."""
    try:
        return kind.model_validate(given) if isinstance(given, Mapping) else given
    except ValidationError:
        return given  # its field says what is wrong


def _stated(candidate: Mapping[str, Any] | PruningConfig) -> dict[str, Any]:  # without an empty shape
    return {name: value for name, value in dict(candidate).items() if name != "input_shape" or value is not None}


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
        title="Candidates",
        description="What is pruned and retrained. In words: the most that may be left, as 3.7G (MACs), 1.34M "
        "(parameters) or 3.7G+1.34M, or backbone threshold and ratio, as 0.5/0.5. Behind it may stand height x width "
        "of the input, as @480x320, and the criterion, as :taylor. Joined by commas.",
        json_schema_extra=_in_words_too,
    )
    search: SearchConfig | None = Field(
        None,
        title="Search",
        description="Instead of a list of candidates: a search asks for them, for so many hours, and learns from all "
        "nights before. Empty: the list.",
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
    retrain: Retraining = Field(_BY_PROFILE, title="How candidates are retrained", json_schema_extra=may_be_empty)
    export: ExportConfig = Field(_BY_PROFILE, title="What is released", json_schema_extra=may_be_empty)
    release: ReleaseConfig = Field(ReleaseConfig(), title="What the release says, and who gets it first")
    benchmark: BenchmarkConfig = Field(_BY_PROFILE, title="Waiting for devices", json_schema_extra=may_be_empty)
    compute: ComputeConfig = Field(_BY_PROFILE, title="Machines", json_schema_extra=may_be_empty)
    min_survivors: int = Field(1, ge=1, description="The run fails with fewer retrained candidates than this.")

    @model_validator(mode="before")
    @classmethod
    def _filled_in(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or given.get("profile", "standard") not in ("demo", "standard"):
            return given
        filled = {name: value for name, value in given.items() if value not in (None, "")}
        is_demo = filled.get("profile") == "demo"
        base, dataset = filled.setdefault("base", {}), filled.setdefault("dataset", {})
        if not isinstance(base, Mapping | BaselineConfig) or not isinstance(dataset, Mapping | DatasetConfig):
            return given
        usual = settings_named(dict(dataset).get("workload"))
        checkpoint = dict(base).get("checkpoint", SHIPPED if usual.ships else TRAIN)
        is_trained = checkpoint in (None, "", TRAIN)
        is_usual = is_demo and checkpoint == SHIPPED and "pruning" not in filled
        start = filled.setdefault("start", SHIPPED_PRUNED if is_usual else UNPRUNED)
        is_small = start != UNPRUNED
        is_searched = filled.get("search") is not None
        if is_searched and filled.get("pruning"):
            raise ValueError("got a list of candidates and a search; wanted one of them: empty the other one")
        candidates, batch_only = filled.get("pruning", () if is_searched else usual.candidates), usual.batch_only
        if is_small and "pruning" not in filled and not is_searched:
            candidates, batch_only = usual.small_candidates, ()
        if isinstance(candidates, str):
            candidates = tuple(PruningConfig.from_word(word, batch_only) for word in candidates.split(","))
        if not isinstance(given.get("pruning"), list | tuple):  # how long Taylor looks is the profile's affair
            candidates = tuple(one.model_copy(update=_DEMO_LOOKS if is_demo else {}) for one in candidates)
        filled["pruning"] = candidates
        if isinstance(base, Mapping):
            training = base.get("training") or usual.usual_training(is_demo=is_demo)
            filled["base"] = {**base, "checkpoint": checkpoint, "training": _of_kind(usual.training, training)}
        retraining = usual.usual_retraining(is_demo=is_demo, is_trained=is_trained, is_small=is_small)
        retrain = filled.setdefault("retrain", retraining)
        if "epochs" in filled:
            retrain = {**dict(retrain), "epochs": filled["epochs"]}
        filled["retrain"] = _of_kind(usual.retraining, retrain)
        filled.setdefault(
            "export", ExportConfig(calibration_images=8, max_output_difference=0.02) if is_demo else ExportConfig()
        )
        export = filled["export"]
        shape = dict(export).get("input_shape") if isinstance(export, Mapping | ExportConfig) else None
        are_candidates = all(isinstance(one, Mapping | PruningConfig) for one in filled["pruning"])
        if shape and are_candidates:  # they are retrained at the run's shape
            filled["pruning"] = tuple({"input_shape": shape} | _stated(one) for one in filled["pruning"])
        filled.setdefault("benchmark", BenchmarkConfig(wait_s=120, min_reports=1) if is_demo else BenchmarkConfig())
        filled.setdefault("compute", ComputeConfig())
        return filled

    @model_validator(mode="after")
    def _settings_are_of_the_workload(self) -> Self:
        usual = settings_named(self.dataset.workload)
        checked: list[tuple[str, TrainingConfig, type[TrainingConfig]]] = [("retrain", self.retrain, usual.retraining)]
        if self.base.checkpoint is None:
            checked.append(("base.training", self.base.training, usual.training))
        for name, given, own in checked:
            if not isinstance(given, own) and not issubclass(own, type(given)):
                raise ValueError(
                    f"{name}: got settings of another workload ({type(given).__name__}), wanted those of workload "
                    f"{self.dataset.workload or USUAL_WORKLOAD!r} ({own.__name__})"
                )
        return self

    @model_validator(mode="after")
    def _candidates_come_from_somewhere(self) -> Self:
        if self.search is not None:
            require_scored(self.retrain)
            if self.release.share != 1:
                raise ValueError(
                    f"release.share: got {self.release.share:g} with a search, wanted 1: the flow decide has a share "
                    "of its own for the release that it chooses"
                )
        elif not self.pruning:
            raise ValueError("pruning: got no candidate, wanted at least one, or a search")
        return self
