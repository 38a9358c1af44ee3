"""Pruning policies: how many channels of each group stay.

A policy is one file here: its config, which people fill in, and beside it what it computes. A new one is its file and
its name in `Policy`; run form, command line, plans and steps follow from these. Policies compute with plain numbers:
importing them brings no torch.
"""

from collections.abc import Mapping
from typing import get_args

from modnet.errors import PruningError
from modnet.policies.adaptive import AdaptivePolicy
from modnet.policies.budget import BudgetPolicy
from modnet.policies.global_threshold import GlobalThresholdPolicy
from modnet.policies.latency import LatencyPolicy
from modnet.policies.layer_ratios import LayerRatio, LayerRatiosPolicy
from modnet.policies.policy import SteppedPolicy
from modnet.policies.uniform import UniformPolicy

Policy = AdaptivePolicy | UniformPolicy | LayerRatiosPolicy | GlobalThresholdPolicy | BudgetPolicy | LatencyPolicy

POLICIES: Mapping[str, type[Policy]] = {one.model_fields["kind"].default: one for one in get_args(Policy)}
"""Every policy by its kind, in the order in which the run form and the command line offer them."""

STEPPED_KINDS = tuple(kind for kind, policy in POLICIES.items() if issubclass(policy, SteppedPolicy))
"""Kinds of the policies that a network can be brought to in several steps."""


def stepped(policy: Policy) -> SteppedPolicy:
    """The policy, as one that can be divided into steps.

    Raises:
        PruningError: it cannot.
    """
    if not isinstance(policy, SteppedPolicy):
        raise PruningError(f"policy {policy.kind!r} cannot be divided into steps; wanted {' or '.join(STEPPED_KINDS)}")
    return policy
