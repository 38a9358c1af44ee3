"""What a training run needs to go on after a kill as if nothing had happened."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from modnet.errors import CheckpointError
from modnet.records import EpochReport, ScaleDistribution
from modnet.training.execution import Format

_WAY_OUT = "go on with the settings of then, or remove it to train from the start"


@dataclass
class TrainingState:
    """Everything that changes during a run. Samples are not in it: they follow from (seed, epoch, index)."""

    # says what is trained on what and how, by field; a state of another question is refused
    question: Mapping[str, str]
    modules: Mapping[str, nn.Module]  # the network, its average, adapters: restored in place, as is the optimiser
    optimiser: torch.optim.Optimizer
    total_steps: int  # of the whole run
    number_format: Format  # what a step is computed in; measured once, so that a resumed run does not choose anew
    step: int = 0  # how many steps are done
    # the loss by term of each step of the epoch that is under way
    step_losses: list[dict[str, float]] = field(default_factory=list)
    history: list[EpochReport] = field(default_factory=list)  # of the epochs that are done
    scales: list[ScaleDistribution] = field(default_factory=list)  # see `TrainingReport`
    best_weights: dict[str, Tensor] | None = None  # of the epoch with the lowest tune error; None without validation
    seconds: float = 0.0  # that the steps so far took, in all the runs they were made in

    @property
    def progress(self) -> float:
        """Share of the steps that are done, 0 to 1."""
        return self.step / self.total_steps

    def to_bytes(self) -> bytes:
        """What `restore` takes."""
        content = {
            "question": dict(self.question),
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "optimiser": self.optimiser.state_dict(),
            "number_format": self.number_format,
            "step": self.step,
            "step_losses": self.step_losses,
            "history": [one.model_dump() for one in self.history],
            "scales": [one.model_dump() for one in self.scales],
            "best_weights": self.best_weights,
            "seconds": self.seconds,
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        return buffer.getvalue()

    def restore(self, saved: bytes, where: str) -> None:
        """Puts everything back to where it was when `to_bytes` gave these bytes; `where` says where they are from.

        Raises:
            CheckpointError: damaged, or saved by a run of another question; names every field that differs.
        """
        try:
            content: dict[str, Any] = torch.load(io.BytesIO(saved), map_location="cpu", weights_only=True)
            question = content["question"]
        except Exception as error:  # torch raises many kinds for damaged or foreign content
            raise CheckpointError(
                f"cannot resume training from {where}: damaged, or no state of a training ({len(saved)} bytes): "
                f"{error}; {_WAY_OUT}"
            ) from error
        if difference := self._difference(question):
            raise CheckpointError(f"cannot resume training from {where}: it is {difference}; {_WAY_OUT}")
        try:
            for name, module in self.modules.items():
                module.load_state_dict(content["modules"][name])
            self.optimiser.load_state_dict(content["optimiser"])
            self.number_format, self.step = content["number_format"], content["step"]
            self.step_losses = content["step_losses"]
            self.history = [EpochReport.model_validate(one) for one in content["history"]]
            self.scales = [ScaleDistribution.model_validate(one) for one in content["scales"]]
            self.best_weights = content["best_weights"]
            self.seconds = content.get("seconds", 0.0)  # states of before it was kept go on, too
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(f"cannot resume training from {where}: {error}; {_WAY_OUT}") from error

    def _difference(self, question: object) -> str:
        """Of what else a state of this question is; empty where it is the same."""
        if not isinstance(question, dict):
            return "of an earlier version of this project"
        pairs = {name: (question.get(name), self.question.get(name)) for name in {**self.question, **question}}
        found = [f"{name}: got {got}, wanted {wanted}" for name, (got, wanted) in pairs.items() if got != wanted]
        return f"of another run, {', '.join(found)}" if found else ""


def step_of(saved: bytes) -> int | None:
    """How many steps are done in a state that `to_bytes` gave; None where it is damaged, or none of ours."""
    try:
        step = torch.load(io.BytesIO(saved), map_location="cpu", weights_only=True)["step"]
    except Exception:  # torch raises many kinds for damaged or foreign content
        return None
    return step if isinstance(step, int) else None
