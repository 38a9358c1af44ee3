"""Adaptation makes the three outputs agree and leaves norms' statistics alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from modnet.data.archives import extract_archive
from modnet.errors import DatasetError, TrainingDivergedError
from modnet.workloads.matting.adaptation import adapt, consistency_losses
from modnet.workloads.matting.data.dataset import UnlabelledDataset
from modnet.workloads.matting.data.indexing import find_images
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.distillation import uncertain_band
from modnet.workloads.matting.losses import coarse_matte
from modnet.workloads.matting.network.modnet import MattePrediction, MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.settings import AdaptationConfig

CONFIG = AdaptationConfig(epochs=3, batch_size=2, image_size=64, learning_rate=1e-3)


def fresh_network() -> MODNet:
    torch.manual_seed(0)
    return MODNet(ModnetSpec.tiny())


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> UnlabelledDataset:
    folder = tmp_path_factory.mktemp("images")
    archive = write_synthetic_archive(folder / "synthetic.zip", train=5, val=1, size=(96, 80), seed=1)
    extracted = extract_archive(archive, folder / "extracted")
    return UnlabelledDataset(extracted, find_images(extracted)[:4], size=64, seed=0)


def test_consistency_losses_are_zero_when_all_outputs_agree() -> None:
    alpha = torch.rand(1, 1, 64, 64)
    agreed = MattePrediction(coarse_matte(alpha, torch.empty(1, 1, 4, 4)), alpha, alpha)
    assert {name: term.item() for name, term in consistency_losses(agreed, agreed).items()} == {
        "semantic": 0.0,
        "detail": 0.0,
        "kept_detail": 0.0,
    }


def test_consistency_losses_follow_their_formulas() -> None:
    generator = torch.Generator().manual_seed(0)
    one, before = (
        MattePrediction(*(torch.rand(1, 1, side, side, generator=generator) for side in (4, 64, 64))) for _ in range(2)
    )
    losses = consistency_losses(one, before)
    band = uncertain_band(before.alpha)
    coarse = coarse_matte(one.alpha, one.semantic)
    torch.testing.assert_close(losses["semantic"], 50 * (coarse - one.semantic).square().mean())
    torch.testing.assert_close(losses["detail"], (band * (one.alpha - one.detail).abs()).mean())
    torch.testing.assert_close(losses["kept_detail"], (band * (one.detail - before.detail).abs()).mean())


def test_adapt_lowers_the_loss_and_keeps_the_statistics_of_norms(images: UnlabelledDataset) -> None:
    network, before = fresh_network(), fresh_network().state_dict()
    report = adapt(network, images, CONFIG.model_copy(update={"epochs": 10}), seed=0)
    assert report.history[-1].loss < report.history[0].loss
    assert (report.steps, report.images_seen, network.training) == (20, 40, False)
    after = network.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before if "running" in name)
    assert any(not torch.equal(after[name], before[name]) for name in before)


def test_adapt_gives_identical_weights_when_seed_is_the_same(images: UnlabelledDataset) -> None:
    one, other = fresh_network(), fresh_network()
    for network in (one, other):
        adapt(network, images, CONFIG, seed=0)
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


def test_adapt_raises_when_the_loss_is_not_finite(images: UnlabelledDataset) -> None:
    network = fresh_network()
    with torch.no_grad():
        network.fusion.head.weight.fill_(float("nan"))
    with pytest.raises(TrainingDivergedError, match="at step 0 of adaptation"):
        adapt(network, images, CONFIG, seed=0)


def test_consistency_losses_are_finite_when_nobody_is_in_the_image() -> None:
    """The published loss divides by the area of the border between person and background, which may be empty."""
    nobody = torch.zeros(1, 1, 32, 32)
    now = MattePrediction(semantic=torch.zeros(1, 1, 2, 2), detail=nobody, alpha=nobody.clone().requires_grad_())
    losses = consistency_losses(now, now)
    assert all(torch.isfinite(loss) for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    assert torch.isfinite(now.alpha.grad).all()


def test_adapt_replaces_as_many_unreadable_images_as_are_allowed(images: UnlabelledDataset, tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes((images.folder / images.entries[0]).read_bytes())
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 cut off")
    dataset = UnlabelledDataset(tmp_path, find_images(tmp_path), size=64, seed=0)
    config = CONFIG.model_copy(update={"epochs": 1})
    with pytest.raises(DatasetError, match=r"1 of 3 samples cannot be read.*broken\.jpg"):
        adapt(fresh_network(), dataset, config, seed=0)
    allowed = config.model_copy(update={"max_unreadable": 1})
    assert len(adapt(fresh_network(), dataset, allowed, seed=0).history) == 1
