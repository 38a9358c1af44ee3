"""What a workload adds to the settings of a run."""

from modnet.config import Config
from modnet.configs.training import RetrainConfig, TrainingConfig


class WorkloadSettings:
    """What a workload adds to the settings of a run, and what it does where nobody chose. This class adds nothing.

    It does without torch.

    Attributes:
        ships: whether the project brings an unpruned network along, which runs take where nobody chose.
        training: how its unpruned networks are trained: the engine's fields, and its own.
        retraining: how its candidates are retrained.
        distillation: what its `retraining` says of a teacher. None: its networks cannot teach.
        batch_only: layers that lose their instance norm where a word asks for a budget by Taylor.
        candidates: that are pruned from the unpruned network, in words.
        small_candidates: that are pruned from a small network, which has lost these norms already.
    """

    ships = False
    training: type[TrainingConfig] = TrainingConfig
    retraining: type[RetrainConfig] = RetrainConfig
    distillation: type[Config] | None = None
    batch_only: tuple[str, ...] = ()
    candidates = small_candidates = "0.5/0.5"

    def usual_training(self, *, is_demo: bool) -> TrainingConfig:
        """How an unpruned network is trained in minutes, or in a night."""
        return self.training()

    def usual_retraining(self, *, is_demo: bool, is_trained: bool, is_small: bool) -> RetrainConfig:
        """How candidates are retrained, in minutes or in a night: of a base of the same run, or of a small network."""
        return self.retraining()
