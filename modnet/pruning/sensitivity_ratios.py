"""How much each group may lose, read off its sensitivity curve."""

from collections.abc import Callable, Mapping, Sequence

from modnet.configs import LayerRatio, LayerRatiosPolicy, SensitivityConfig
from modnet.errors import PruningError
from modnet.network import PrunableNetwork
from modnet.policies.cost import Cost
from modnet.policies.policy import AllowedWidths, split_by_parts
from modnet.pruning.cost import cost_model
from modnet.records import SensitivityChoice, SensitivityCurve

_HALVINGS = 60  # of an interval of losses: below the digits of a float


def choose_ratios(
    network: PrunableNetwork, curves: Sequence[SensitivityCurve], config: SensitivityConfig
) -> SensitivityChoice:
    """A ratio for each group: by the config's allowed loss, or by its budget of MACs where one is given.

    Raises:
        PruningError: no curves, or the budget cannot be met within the measured ratios.
    """
    if not curves:
        raise PruningError("sensitivities: no group was measured")
    measured = {curve.group for curve in curves}
    groups = [group for group in network.channel_groups() if group.name in measured]
    allowed = AllowedWidths(config.pruning.channel_multiple, config.pruning.min_channels)
    costs = cost_model(network)

    def cost_at(loss: float) -> Cost:
        counts = _policy_at(loss, curves).counts(groups, {}, allowed)
        return costs.cost({group.name: split_by_parts(counts[group.name], group.parts) for group in groups})

    loss = config.allowed_loss if config.max_macs is None else _loss_for_macs(cost_at, curves, config.max_macs)
    cost, policy = cost_at(loss), _policy_at(loss, curves)
    return SensitivityChoice(allowed_loss=loss, policy=policy, parameters=cost.parameters, macs=cost.macs)


def ratio_within(losses: Mapping[float, float], allowed: float) -> float:
    """The largest ratio up to which no measured loss exceeds what is allowed; 0 where the first one does.

    Between the last point within and the first beyond, the loss is taken to grow linearly. What comes after the first
    exceedance does not count, even where the curve falls again.

    >>> ratio_within({0.2: 0.1, 0.4: 0.3}, allowed=0.2)
    0.3
    """
    within = 0.0
    for ratio, loss in sorted(losses.items()):
        if loss > allowed:
            if within == 0:
                return 0.0
            below = losses[within]
            return round(within + (allowed - below) / (loss - below) * (ratio - within), 6)
        within = ratio
    return within


def _policy_at(loss: float, curves: Sequence[SensitivityCurve]) -> LayerRatiosPolicy:
    ratios = (LayerRatio(pattern=curve.group, ratio=ratio_within(curve.losses, loss)) for curve in curves)
    return LayerRatiosPolicy(ratios=tuple(ratios))


def _loss_for_macs(cost_at: Callable[[float], Cost], curves: Sequence[SensitivityCurve], max_macs: int) -> float:
    """The smallest allowed loss that leaves at most `max_macs`: MACs fall while it rises."""
    losses = [loss for curve in curves for loss in curve.losses.values()]
    low, high = min(losses) - 1, max(losses)
    if (smallest := cost_at(high).macs) > max_macs:
        raise PruningError(
            f"budget of {max_macs} MACs: with every group at its largest measured ratio {smallest} are left; "
            "measure larger ratios, or lower the multiple or the minimum"
        )
    if cost_at(low).macs <= max_macs:
        raise PruningError(f"budget of {max_macs} MACs: the network has {cost_at(low).macs} as it is")
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if cost_at(middle).macs <= max_macs else (middle, high)
    return high
