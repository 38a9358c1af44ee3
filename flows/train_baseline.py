"""Flow train-baseline."""

from prefect import flow

from modnet.configs import ComputeConfig, Seed
from modnet.records import BaseRecord
from tasks.configs.baseline import BaselineConfig
from tasks.prune import put_base


@flow(name="train-baseline")
def train_baseline(
    dataset_id: str,
    config: BaselineConfig = BaselineConfig(),
    seed: Seed = 0,
    compute: ComputeConfig = ComputeConfig(),
) -> BaseRecord:
    """Provides the unpruned network: the one the project ships, a given one, or one trained on the `fit` split.

    The result's `base_id` is what the other flows ask for.
    """
    return put_base(dataset_id, config, seed, compute)
