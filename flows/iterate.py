"""Flow iterate."""

from prefect import flow

from modnet.configs import ComputeConfig, Seed
from tasks.configs.sections import StepwiseConfig
from tasks.iterate import plan_steps, take_step


@flow(name="iterate")
def iterate(
    base_id: str,
    config: StepwiseConfig = StepwiseConfig(),
    seed: Seed = 0,
    compute: ComputeConfig = ComputeConfig(),
) -> list[str]:
    """Prunes a base in several smaller steps, retraining after each, until it is as small as was asked.

    Each step takes the same share of what is left and prunes the network that the step before it retrained. Returns
    the candidates in order, the last as small as was asked; `evaluate` and `export` take any of them. A run that was
    killed goes on at its step, inside a retraining at the last saved epoch.
    """
    candidate_ids: list[str] = []
    for step in plan_steps(base_id, config):
        parent_id = candidate_ids[-1] if candidate_ids else base_id
        candidate_ids.append(take_step(parent_id, step, seed, compute).candidate_id)
    return candidate_ids
