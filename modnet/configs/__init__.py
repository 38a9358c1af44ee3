"""What people choose, a file per stage. Descriptions and ranges of fields appear in the run form and in `--help`.

Nothing here imports what computes. Policies are configs of `pruning`; their files are in `modnet.policies`.
"""

from modnet.config import Config
from modnet.configs.benchmark import BenchmarkConfig
from modnet.configs.compute import ComputeConfig
from modnet.configs.dataset import DatasetConfig, SyntheticConfig, shown_source
from modnet.configs.evaluation import WinnerLimits
from modnet.configs.export import ExportConfig
from modnet.configs.iteration import IterationConfig
from modnet.configs.pruning import PruningConfig
from modnet.configs.release import ReleaseConfig, Share
from modnet.configs.rollout import RolloutConfig
from modnet.configs.sensitivity import SensitivityConfig
from modnet.configs.training import RetrainConfig, Seed, SparsityConfig, TrainingConfig
from modnet.configs.trial import TrialConfig
from modnet.configs.workload import WorkloadSettings
from modnet.policies import (
    POLICIES,
    STEPPED_KINDS,
    AdaptivePolicy,
    BudgetPolicy,
    GlobalThresholdPolicy,
    LatencyPolicy,
    LayerRatio,
    LayerRatiosPolicy,
    Policy,
    UniformPolicy,
)
