"""Training learns, is the same twice, goes on where it was cut, and says when it diverges."""

import pytest
import torch

from modnet.configs import SparsityConfig, TrainingConfig
from modnet.data.archives import extract_archive, index_dataset
from modnet.data.dataset import MattingDataset
from modnet.data.synthetic import write_synthetic_archive
from modnet.errors import CheckpointError, TrainingDivergedError
from modnet.models.modnet import MODNet
from modnet.spec import ModnetSpec
from modnet.training.retrain import retrain

CONFIG = TrainingConfig(epochs=3, batch_size=2, image_size=64, learning_rate=5e-3, precision="fp32")


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> MattingDataset:
    folder = tmp_path_factory.mktemp("portraits")
    archive = write_synthetic_archive(folder / "synthetic.zip", train=9, val=1, size=(96, 80), seed=1)
    extracted = extract_archive(archive, folder / "extracted")
    return MattingDataset(extracted, index_dataset(extracted).split("fit"), size=64, seed=3)


def fresh_network() -> MODNet:
    torch.manual_seed(0)
    return MODNet(ModnetSpec.tiny())


def equal(one: MODNet, other: MODNet) -> bool:
    return all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


def test_retrain_lowers_the_loss_and_leaves_evaluation_mode(portraits: MattingDataset) -> None:
    network = fresh_network()
    report = retrain(network, portraits, CONFIG.model_copy(update={"epochs": 40, "learning_rate": 1e-2}), seed=0)
    assert sum(report.epoch_losses[-5:]) < sum(report.epoch_losses[:5])
    assert (report.epochs, report.steps, report.images_seen) == (40, 40 * 2, 40 * len(portraits))
    assert not network.training


def test_retrain_gives_identical_weights_when_seed_is_the_same(portraits: MattingDataset) -> None:
    networks = [fresh_network() for _ in range(3)]
    for network, seed in zip(networks, (0, 0, 1), strict=True):
        retrain(network, portraits, CONFIG, seed=seed)
    assert equal(networks[0], networks[1])
    assert not equal(networks[0], networks[2])


@pytest.mark.parametrize("sparsity", [None, SparsityConfig(strength=0.01, schedule="ramp")], ids=["plain", "sparse"])
def test_retrain_gives_identical_weights_when_cut_and_resumed(
    portraits: MattingDataset, sparsity: SparsityConfig | None
) -> None:
    config = CONFIG.model_copy(update={"sparsity": sparsity})
    states: dict[int, bytes] = {}
    whole = fresh_network()
    report = retrain(whole, portraits, config, seed=0, after_epoch=states.__setitem__)
    assert list(states) == [1, 2, 3]
    for epoch, state in states.items():
        resumed = fresh_network()
        again = retrain(resumed, portraits, config, seed=0, resume_from=state)
        assert equal(whole, resumed), f"resumed after epoch {epoch}"
        assert again.epoch_losses == report.epoch_losses
        assert again.scales == report.scales


def test_retrain_reports_scales_before_and_after_every_epoch_when_training_is_sparse(
    portraits: MattingDataset,
) -> None:
    sparse = CONFIG.model_copy(update={"sparsity": SparsityConfig(strength=0.01)})
    report = retrain(fresh_network(), portraits, sparse, seed=0)
    assert len(report.scales) == 1 + CONFIG.epochs
    assert report.scales[0].quintiles == (1.0,) * 5  # a fresh network's
    assert report.scales[-1].quintiles[0] < 1.0
    assert retrain(fresh_network(), portraits, CONFIG, seed=0).scales == ()


@pytest.mark.parametrize(
    "damage", [lambda s: s[:1000], lambda s: b"", lambda s: b"x" * 50], ids=["cut", "empty", "text"]
)
def test_retrain_raises_when_saved_state_is_damaged(portraits: MattingDataset, damage) -> None:
    states: dict[int, bytes] = {}
    retrain(fresh_network(), portraits, CONFIG.model_copy(update={"epochs": 1}), seed=0, after_epoch=states.__setitem__)
    with pytest.raises(CheckpointError, match="cannot resume"):
        retrain(fresh_network(), portraits, CONFIG, seed=0, resume_from=damage(states[1]))


def test_retrain_raises_with_step_when_loss_is_not_finite(portraits: MattingDataset) -> None:
    network = fresh_network()
    with torch.no_grad():
        network.fusion.head.weight.fill_(float("nan"))
    with pytest.raises(TrainingDivergedError, match="at step 0 of") as caught:
        retrain(network, portraits, CONFIG, seed=0)
    assert caught.value.step == 0
    assert caught.value.last_finite_loss is None
