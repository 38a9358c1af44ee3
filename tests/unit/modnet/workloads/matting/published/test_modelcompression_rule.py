"""ModelCompression's widths: counts worked out by hand, what it wrote when it was run, and where it fails."""

import copy
import re

import pytest
import torch

from modnet.errors import PruningError
from modnet.workloads.matting.checkpoint import load
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.published.layout import our_state
from modnet.workloads.matting.published.modelcompression_info import prune_info
from modnet.workloads.matting.published.modelcompression_rule import ModelCompressionRule, kept_count


@pytest.fixture(scope="module")
def network() -> MODNet:
    torch.manual_seed(0)
    return MODNet(ModnetSpec.full())


@pytest.fixture(scope="module")
def outlier(network: MODNet) -> MODNet:
    """In backbone.blocks.7 one expand and one depthwise filter dwarf the others: nearly all others would go."""
    changed = copy.deepcopy(network)
    with torch.no_grad():
        for layer in ("expand", "depthwise"):
            changed.get_submodule(f"backbone.blocks.7.{layer}.conv").weight[0] *= 1000
    return changed


@pytest.mark.parametrize(
    ("channels", "reach", "kept"),
    [
        (32, 1, 8),
        (32, 7, 8),
        (32, 8, 16),
        (32, 16, 16),
        (32, 17, 24),
        (32, 25, 24),
        (32, 26, 32),
        (32, 31, 32),
        (96, 67, 72),  # 68 filters: half way rounds up
        (1280, 491, 496),
        (960, 491, 488),  # 492 / 960 * 960 is less than 492 in binary fractions
        (960, 492, 496),
    ],
)
def test_kept_count_is_one_more_than_reach_in_multiples_of_8(channels: int, reach: int, kept: int) -> None:
    norms = torch.zeros(channels, dtype=torch.float64)
    norms[:reach] = 1
    assert kept_count(norms, 0.5) == kept


@pytest.mark.parametrize(("threshold", "kept"), [(0.5, 16), (0.51, 8)], ids=["reaches", "just misses"])
def test_kept_count_counts_a_norm_equal_to_the_threshold(threshold: float, kept: int) -> None:
    norms = torch.tensor([1.0] + 7 * [0.5] + 16 * [0.0], dtype=torch.float64)
    assert kept_count(norms, threshold) == kept


@pytest.mark.parametrize("case", range(3))
def test_spec_is_what_modelcompression_wrote(recordings, case: int) -> None:
    recorded = recordings.read("seed_visible.json")
    pruned = recorded["cases"][case]
    unpruned = MODNet(ModnetSpec.full())
    unpruned.load_state_dict(our_state(recordings.state(recorded["base"]["keys"], recorded["salt"]), "recorded"))
    setting = {"threshold": pruned["threshold"], "ratio": pruned["ratio"]}
    spec = ModelCompressionRule(unpruned).spec(**setting)
    assert prune_info(spec, **setting) == pruned["prune_info"]
    assert sum(p.numel() for p in MODNet(spec).parameters()) == pruned["parameters"]


@pytest.mark.parametrize("case", range(2))
def test_spec_is_what_modelcompression_wrote_when_network_is_trained(recordings, portraits_base, case: int) -> None:
    recorded = recordings.read("seed_portraits_base.json")["cases"][case]
    setting = {"threshold": recorded["threshold"], "ratio": recorded["ratio"]}
    assert prune_info(ModelCompressionRule(load(portraits_base)).spec(**setting), **setting) == recorded["prune_info"]


@pytest.mark.parametrize("threshold", [0.4, 0.45, 0.5, 0.6])
def test_spec_raises_where_modelcompression_fails_on_a_trained_network(portraits_base, threshold: float) -> None:
    rule = ModelCompressionRule(load(portraits_base))
    with pytest.raises(PruningError, match=r"backbone.blocks.\d+ .*expansion factor 0.* nearest .* works is 0.36"):
        rule.spec(threshold=threshold, ratio=0.5)
    rule.spec(threshold=0.36, ratio=0.5)


def test_spec_raises_with_the_nearest_threshold_when_a_block_keeps_too_little(outlier: MODNet) -> None:
    rule = ModelCompressionRule(outlier)
    with pytest.raises(
        PruningError, match=r"backbone.blocks.7 \(ModelCompression's features.8\) keeps 8 hidden"
    ) as caught:
        rule.spec(threshold=0.2, ratio=0.5)
    nearest = float(re.search(r"nearest threshold that works is ([\d.]+)", str(caught.value))[1])
    rule.spec(threshold=nearest, ratio=0.5)
    nearer = [step / 100 for step in range(1, 101) if abs(step / 100 - 0.2) < abs(nearest - 0.2) - 1e-9]
    assert nearer
    for threshold in nearer:
        with pytest.raises(PruningError):
            rule.spec(threshold=threshold, ratio=0.5)


@pytest.mark.parametrize(
    ("threshold", "ratio", "message"),
    [
        (0.0, 0.5, r"threshold 0 is outside \(0, 1\]; the nearest threshold that works is 0.01"),
        (-1.0, 0.5, "threshold -1 is outside"),
        (1.5, 0.5, r"threshold 1.5 is outside \(0, 1\]; the nearest threshold that works is 1"),
        (float("nan"), 0.5, "threshold nan is outside"),
        (1e-9, -0.5, r"ratio -0.5 is outside \[0, 1\); the nearest ratio that works is 0"),
        (1e-9, 1.0, r"ratio 1 is outside \[0, 1\); the nearest ratio that works is 0.875"),
        (1e-9, float("nan"), "ratio nan is outside"),
        (1e-9, 0.9, "at ratio 0.9 fusion.head_features keeps 1 of 16 channels.* nearest ratio that works is 0.875"),
        (1e-9, 0.99, "fusion.head_features keeps 0 of 16"),
        (0.0, 1.0, "threshold 0 is outside.*ratio 1 is outside"),
    ],
    ids=["0", "below 0", "above 1", "nan", "ratio<0", "ratio 1", "ratio nan", "no halves", "no width", "both"],
)
def test_spec_raises_when_setting_cannot_work(network: MODNet, threshold: float, ratio: float, message: str) -> None:
    with pytest.raises(PruningError, match=message):
        ModelCompressionRule(network).spec(threshold=threshold, ratio=ratio)


def test_spec_gives_the_narrowest_detail_branch_at_the_largest_ratio(network: MODNet) -> None:
    spec = ModelCompressionRule(network).spec(threshold=1e-9, ratio=0.875)
    assert (spec.to_enc2x.total, spec.enc4x.total, spec.fusion_head.total) == (4, 8, 2)


@pytest.mark.parametrize(
    ("value", "message"),
    [(1.0, "all have the L1 norm 144; no threshold"), (float("nan"), "not finite")],
    ids=["equal", "nan"],
)
def test_modelcompression_rule_raises_when_norms_say_nothing(network: MODNet, value: float, message: str) -> None:
    changed = copy.deepcopy(network)
    torch.nn.init.constant_(changed.get_submodule("backbone.blocks.3.project.conv").weight, value)
    with pytest.raises(PruningError, match=f"filters of backbone.blocks.3.project.conv apart: .*{message}"):
        ModelCompressionRule(changed)


def test_modelcompression_rule_raises_when_network_is_not_the_published_one() -> None:
    with pytest.raises(PruningError, match="other widths or skips"):
        ModelCompressionRule(MODNet(ModnetSpec.tiny()))
